"""What lies in a SavedModel's folder beside the graph; TF Serving leaves `assets.extra` alone."""

from typing import Final

MODEL_CARD: Final = "assets.extra/swar.json"
"""What the model was made from."""
TOWER_WEIGHTS: Final = "assets.extra/tower.weights.h5"
"""Of the tower, in Keras' format: another training can start from them."""
