"""What needs a GPU to mean something."""
