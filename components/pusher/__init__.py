"""Publishes blessed models: a version is complete or absent."""
