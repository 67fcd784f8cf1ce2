"""How well models know speakers of real speech: their training data, and their judges."""
