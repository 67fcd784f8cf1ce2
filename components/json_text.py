"""JSON with null for the numbers that it has not: NaN and the infinities.

Python writes them as NaN and Infinity, which other readers of JSON refuse.
"""

import json
import math
from datetime import datetime
from typing import Any


def without_nan(value: Any) -> Any:
    """The value, or None for a float that is not finite; in dicts, lists and tuples likewise."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """The text of a value, letters as they are, times in ISO 8601; `indent=None` is one line."""
    return json.dumps(
        without_nan(value),
        ensure_ascii=False,
        allow_nan=False,
        indent=indent,
        default=datetime.isoformat,
    )
