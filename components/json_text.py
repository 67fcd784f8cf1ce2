"""JSON with null for numbers that JSON does not have: NaN and the infinities.

Python writes them as NaN and Infinity, which other JSON readers refuse.
"""

import json
import math
from datetime import datetime
from typing import Any


def without_nan(value: Any) -> Any:
    """The value with None for floats that are not finite, also in dicts, lists and tuples."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """A value as JSON, letters unescaped, times in ISO 8601; one line for `indent=None`."""
    return json.dumps(
        without_nan(value),
        ensure_ascii=False,
        allow_nan=False,
        indent=indent,
        default=datetime.isoformat,
    )
