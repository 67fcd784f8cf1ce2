"""Every condition changes a recording, keeps its length, and is decided by its seed."""

import numpy as np
import pytest

from components.conditions import CLEAN, CONDITIONS
from tests.bad_recordings import speech_like

RATE = 16_000


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_changes_what_it_is_given_the_same_way_for_a_seed(name):
    speech = 0.5 * speech_like(0, 2 * RATE).astype(np.float32)
    before = speech.copy()
    one, again = (CONDITIONS[name](speech, RATE, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.shape == speech.shape and one.dtype == np.float32
    assert not np.allclose(one, speech, atol=1e-3)
    np.testing.assert_array_equal(speech, before)


def test_clean_is_no_condition():
    assert CLEAN not in CONDITIONS
