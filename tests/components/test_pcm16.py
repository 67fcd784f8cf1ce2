"""Samples on their way into a WAV keep their level."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from components.pcm16 import pack_wav, read_wav, to_pcm16


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


@given(st.integers(0, 50), st.integers(1_000, 96_000))
def test_a_wav_is_read_as_it_was_packed(count: int, rate: int) -> None:
    samples = np.random.default_rng(count).integers(-(2**15), 2**15, count).astype(np.int16)
    read = read_wav(pack_wav(samples, rate))
    assert read is not None
    np.testing.assert_array_equal(read[0], samples)
    assert read[1] == rate


@given(st.binary(max_size=80), st.integers(0, 60))
def test_what_was_not_packed_is_read_as_nothing_or_as_samples(junk: bytes, keep: int) -> None:
    for wav in (junk, pack_wav(np.arange(8, dtype=np.int16), 8_000)[:keep] + junk):
        read = read_wav(wav)
        assert read is None or (read[0].dtype == np.int16 and read[0].ndim == 1)


def test_a_wav_of_two_channels_or_bytes_is_none_of_ours() -> None:
    for channels, subtype in ((2, "PCM_16"), (1, "PCM_U8"), (1, "FLOAT")):
        file = io.BytesIO()
        soundfile.write(file, np.zeros((100, channels)), 8_000, format="WAV", subtype=subtype)
        assert read_wav(file.getvalue()) is None
