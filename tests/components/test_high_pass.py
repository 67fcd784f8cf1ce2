"""The high-pass: what it stops, what it passes, and that parts make the whole."""

import itertools

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from components.high_pass import HIGH_PASS_HZ, TRANSITION_HZ, HighPass

RATES = (4_000, 8_000, 11_025, 16_000, 22_050, 44_100)


def filtered(high_pass, waveform):
    """As long as the waveform, whose first and last sample go on before and after it."""
    context = high_pass.context_samples
    missing = -len(waveform) % high_pass.block_samples
    extended = np.pad(waveform.astype(np.float32), (context, context + missing), mode="edge")
    return high_pass(tf.constant(extended)).numpy()[: len(waveform)]


def tone(hertz, rate):
    return np.cos(2 * np.pi * hertz * np.arange(3 * rate) / rate + 0.3)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("hertz", "least_db", "most_db"),
    [
        (0, -200, -100),
        (50, -99, -42),
        (60, -99, -42),
        (100, -0.1, 0.1),
        (450, -0.01, 0.01),
        (1_000, -0.01, 0.01),
        (1_900, -0.01, 0.01),
    ],
)
def test_hum_is_stopped_and_voices_pass(rate, hertz, least_db, most_db):
    middle = slice(rate, 2 * rate)
    wave = tone(hertz, rate)
    power = np.mean(filtered(HighPass(rate), wave)[middle] ** 2) / np.mean(wave[middle] ** 2)
    assert least_db <= 10 * np.log10(power + 1e-12) <= most_db


@pytest.mark.parametrize("rate", RATES)
def test_it_is_nearly_what_one_filter_at_the_full_rate_is(rate):
    width = TRANSITION_HZ / (rate / 2)
    taps, beta = scipy.signal.kaiserord(45.0, width)
    window = ("kaiser", beta)
    response = scipy.signal.firwin(taps | 1, HIGH_PASS_HZ, window=window, pass_zero=False, fs=rate)
    noise = np.random.default_rng(0).standard_normal(4 * rate)
    inside = slice(rate, 3 * rate)
    expected = np.convolve(noise, response, "same")[inside]
    difference = filtered(HighPass(rate), noise)[inside] - expected
    assert np.std(difference) < 3e-3


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_parts_make_the_whole(rate):
    high_pass = HighPass(rate)
    context, block = high_pass.context_samples, high_pass.block_samples
    blocks = 3 * rate // block
    waveform = np.random.default_rng(1).standard_normal(2 * context + blocks * block)
    samples = tf.constant(waveform, tf.float32)
    whole = high_pass(samples).numpy()
    ends = [0, block, 17 * block, blocks // 2 * block, blocks * block]
    parts = [
        high_pass(samples[start : end + 2 * context]).numpy()
        for start, end in itertools.pairwise(ends)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
