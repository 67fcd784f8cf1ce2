"""A page about a trained model: its data, how well it works, and where it fails."""
