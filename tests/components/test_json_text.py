import json

import numpy as np
import pytest

from components.json_text import to_json, without_nan

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY, np.float64(NAN)])
def test_a_number_that_json_lacks_is_null_wherever_it_is(number: float) -> None:
    assert without_nan(number) is None
    tree = {"a": [number, (1.5, number)], "b": {"c": number}}
    assert json.loads(to_json(tree)) == {"a": [None, [1.5, None]], "b": {"c": None}}


def test_everything_else_stays_as_it_is() -> None:
    tree = {"a": [0.0, 1, True, None, "नेपाली"]}
    assert without_nan(tree) == tree
    assert to_json(tree, indent=None) == '{"a": [0.0, 1, true, null, "नेपाली"]}'
