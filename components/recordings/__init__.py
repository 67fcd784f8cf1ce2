"""Recordings: what lies in the input, and their speech, by split and without its silence."""
