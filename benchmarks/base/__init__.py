"""Tools for the base model: what it learns from, and how it is released."""
