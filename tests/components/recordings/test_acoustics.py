"""How speech sounds, in numbers that are known."""

import numpy as np
import pytest

from components.recordings.acoustics import FLOOR_DB, AcousticStatistics, acoustics_of
from components.recordings.cleaning import CleanedRecording

RATE = 16_000


def _measured(samples: np.ndarray, kept: float = 1.0) -> AcousticStatistics:
    pcm16 = np.round(samples * 32767).astype(np.int16)
    end = round(kept * len(pcm16))
    return acoustics_of(CleanedRecording(pcm16, np.array([[0, end]]), "wideband"), RATE)


def _tone(hertz: float, seconds: float = 70.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def test_a_tone_has_its_level_in_every_frame() -> None:
    found = _measured(_tone(1_000.0))
    assert found.speech_seconds == 70.0  # more than a block
    assert found.level_dbfs == pytest.approx(-3.01, abs=0.01)
    assert found.background_dbfs == pytest.approx(-3.01, abs=0.05)
    assert found.treble_db < -60.0


def test_treble_is_what_a_telephone_takes_away() -> None:
    both = (_tone(1_000.0) + _tone(5_000.0)) / 2
    assert _measured(both).treble_db == pytest.approx(-3.01, abs=0.05)
    assert _measured(_tone(5_000.0)).treble_db == pytest.approx(0.0, abs=0.01)


def test_background_is_what_is_heard_between_the_sounds() -> None:
    seconds = np.arange(70 * RATE) / RATE
    spoken = np.where(seconds % 1.0 < 0.8, 1.0, 0.01)
    found = _measured(_tone(1_000.0) * spoken)
    assert found.background_dbfs == pytest.approx(-43.0, abs=0.1)
    assert found.level_dbfs == pytest.approx(-4.0, abs=0.1)


def test_only_the_speech_counts() -> None:
    found = _measured(np.concatenate([_tone(500.0, 6.0), np.zeros(4 * RATE)]), kept=0.6)
    assert (found.speech_seconds, found.kept_fraction) == (6.0, 0.6)
    assert found.level_dbfs == pytest.approx(-3.01, abs=0.01)


def test_digital_silence_has_a_floor() -> None:
    loud = np.concatenate([_tone(500.0, 1.0), np.zeros(9 * RATE)])
    assert _measured(loud).background_dbfs == FLOOR_DB
