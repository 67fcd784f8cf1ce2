"""Cleaned speech in, pairs of log-mel windows out."""
