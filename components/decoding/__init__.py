"""Decodes the bytes of any recording to samples, within bounds, whatever they are."""
