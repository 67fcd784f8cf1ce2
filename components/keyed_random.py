"""Random numbers that depend on a key alone, not on who draws them or when."""

import hashlib
import json

import numpy as np


def keyed_generator(*key: str | int) -> np.random.Generator:
    """The generator of a key: equal keys give equal numbers, in every process and version."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
