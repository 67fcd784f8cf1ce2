"""The bands against their oracle, librosa."""

import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mel import hann, mel_bands, mel_edges

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
SIZES = st.integers(32, 2_048)
MELS = st.integers(1, 128)


@given(rate=RATES, size=SIZES, mels=MELS, lowest=st.sampled_from([0.0, 80.0, 1_500.0]))
def test_bands_are_librosas_bit_by_bit(rate: int, size: int, mels: int, lowest: float) -> None:
    with warnings.catch_warnings(action="ignore"):  # of empty bands
        theirs = librosa.filters.mel(
            sr=rate, n_fft=size, n_mels=mels, fmin=lowest, dtype=np.float64
        )
        peaks_of_1 = librosa.filters.mel(sr=rate, n_fft=size, n_mels=mels, fmax=3_800.0, norm=None)
    np.testing.assert_array_equal(mel_bands(rate, size, mels, lowest_hertz=lowest), theirs)
    ours = mel_bands(rate, size, mels, highest_hertz=3_800.0, norm=None)
    np.testing.assert_array_equal(ours.astype(np.float32), peaks_of_1)


@given(mels=MELS, lowest=st.floats(0.0, 3_000.0), highest=st.floats(3_001.0, 24_000.0))
def test_edges_are_librosas_bit_by_bit(mels: int, lowest: float, highest: float) -> None:
    theirs = librosa.mel_frequencies(mels + 2, fmin=lowest, fmax=highest)
    np.testing.assert_array_equal(mel_edges(mels, lowest, highest), theirs)


@pytest.mark.parametrize("size", [2, 255, 512, 1_024, 2_048])
def test_the_taper_is_scipys_bit_by_bit(size: int) -> None:
    np.testing.assert_array_equal(hann(size), librosa.filters.get_window("hann", size))
