"""How well models know people, on real speech: what they are trained on, and their judge."""
