"""Patches of libraries, and the releases until which they are needed."""
