"""The folder that a run writes to: its lock, its records and what they hold."""
