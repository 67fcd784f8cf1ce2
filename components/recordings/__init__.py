"""The recordings of the input, and their speech, by split and without silence."""
