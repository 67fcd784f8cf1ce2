"""The metrics of a model, and what it must reach to be blessed."""
