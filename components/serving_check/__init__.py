"""Sees that an exported model answers from a process that serves it, before it is published."""
