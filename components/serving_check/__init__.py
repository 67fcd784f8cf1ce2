"""Checks that an exported model answers correctly when served, before it is published."""
