"""Random numbers that depend on a key alone, not on who draws them or when."""

import hashlib
import json

import numpy as np


def keyed_generator(*key: str | int) -> np.random.Generator:
    """Makes the random generator of a key.

    Equal keys give equal numbers in every process, on every machine and with every version of
    NumPy that has Philox, a counter-based generator (Salmon et al., "Parallel random numbers: as
    easy as 1, 2, 3", 2011). Python's own `hash` is salted, and so unsuitable.

    Args:
        key: identifies the numbers' use, such as a seed, the name of a purpose and a recording.
            `("a", "b")` and `("ab",)` are different keys, and so are `1` and `"1"`.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
