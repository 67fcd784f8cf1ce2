"""Samples on their way into a WAV keep their level."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from components.pcm16 import pack_wav, to_pcm16


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0))
def test_nothing_gets_louder_and_nothing_is_clipped(seed, peak):
    samples = np.random.default_rng(seed).uniform(-peak, peak, 500).astype(np.float32)
    expected = samples / max(1.0, float(np.max(np.abs(samples))))
    np.testing.assert_allclose(to_pcm16(samples) / 32767, expected, atol=0.51 / 32767)


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_silence_stays_silence(samples):
    np.testing.assert_array_equal(to_pcm16(np.zeros(samples, np.float32)), np.zeros(samples))


def test_a_wav_holds_the_samples_and_their_rate():
    pcm16 = np.arange(-5, 5, dtype=np.int16)
    read, rate = soundfile.read(io.BytesIO(pack_wav(pcm16, 8_000)), dtype="int16")
    np.testing.assert_array_equal(read, pcm16)
    assert rate == 8_000
