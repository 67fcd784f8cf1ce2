"""Stops the run when the data contradict the schema."""
