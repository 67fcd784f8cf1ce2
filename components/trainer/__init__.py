"""Pairs in, a calibrated SavedModel out."""
