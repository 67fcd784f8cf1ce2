"""Recordings in, cleaned speech by split out."""
