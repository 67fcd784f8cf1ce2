"""A page about a trained model: what it was made from, how well it works, and where it fails."""
