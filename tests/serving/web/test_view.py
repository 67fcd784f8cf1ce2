"""What the page shows: figures as they are, nothing from outside as HTML."""

import base64
import dataclasses
import io
import re
from datetime import UTC, datetime

import numpy as np
import pytest
import soundfile
from PIL import Image

from serving.answers import Decision, Verdict
from serving.decisions import DecisionRule, ExpectedRate
from serving.enrolled import Speaker
from serving.enrolment_gate import Part
from serving.recognition import Candidate, EnrolmentReport, Identification
from serving.web import view
from serving.web.spectrogram import spectrogram_png

RATE_HZ = 16_000
SAME = Decision(distance=0.31, probability=0.973, same_speaker=True, verdict="same")
RULE = DecisionRule(0.5, 0.6, ExpectedRate(0.02, 0.01, 0.04), None, 120)
DIFFERENT = Decision(distance=1.24, probability=0.02, same_speaker=False, verdict="different")


def tone(hertz, seconds):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ).astype("f4")


def picture(samples):
    return np.asarray(Image.open(io.BytesIO(spectrogram_png(samples))).convert("L"), np.float32)


@pytest.mark.parametrize("hertz", [1_000, 4_000, 7_000])
def test_spectrogram_is_brightest_at_the_frequency(hertz):
    bright = picture(tone(hertz, seconds=1.0)).mean(axis=1).argmax()
    height = 160
    assert bright == pytest.approx(height * (1 - hertz / (RATE_HZ / 2)), abs=2)


def test_spectrogram_runs_from_left_to_right():
    seen = picture(np.concatenate([tone(1_000, seconds=1.0), np.zeros(RATE_HZ, np.float32)]))
    half = seen.shape[1] // 2
    assert seen[:, : half - 4].mean() > seen[:, half + 4 :].mean() + 1
    assert seen[:, half + 4 :].std() == 0


def test_a_click_in_a_long_recording_is_seen():
    samples = np.zeros(60 * RATE_HZ, np.float32)
    samples[len(samples) // 3] = 1.0
    seen = picture(samples)
    assert seen.shape == (160, 900)
    assert seen.mean(axis=0).argmax() == pytest.approx(300, abs=2)


@pytest.mark.parametrize("samples", [np.zeros(1, np.float32), np.zeros(4_000, np.float32)])
def test_silence_has_a_picture(samples):
    assert picture(samples).std() == 0


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "recording.wav"
    soundfile.write(path, tone(440, seconds=2.5), RATE_HZ)
    return str(path)


def test_spectrogram_figure_holds_the_picture_and_its_length(recording):
    shown = view.spectrogram(recording)
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).height == 160
    assert "2.5 s" in shown


def test_no_recording_no_picture():
    assert view.spectrogram(None) == ""


def test_a_file_that_is_no_audio_is_told_in_a_sentence(tmp_path):
    path = tmp_path / "letter.wav"
    path.write_text("Dear reader")
    shown = view.spectrogram(str(path))
    assert 'role="alert"' in shown
    assert "give another one" in shown
    assert str(tmp_path) not in shown


def test_verdict_says_same_or_different_and_where_it_lies():
    same, different = view.verdict(SAME, RULE), view.verdict(DIFFERENT, RULE)
    assert "The same speaker" in same and "97.3 %" in same and "0.310" in same
    assert "Different speakers" in different and "2.0 %" in different
    assert "left: clamp(9px, 97.3%" in same
    assert "left: clamp(9px, 2.0%" in different


def test_warnings_stand_below_the_answer():
    doubtful = dataclasses.replace(SAME, warnings=("the bandwidths differ: <b>",))
    assert "<li>The bandwidths differ: &lt;b&gt;.</li>" in view.verdict(doubtful, RULE)
    assert "swar-warnings" not in view.verdict(SAME, RULE)
    found = dataclasses.replace(
        identification("Sita", ("Sita", SAME)), warnings=("it is narrow",), not_compared=("Ram",)
    )
    shown = view.identified(found, RULE)
    assert "It is narrow." in shown and "Ram was enrolled with another model" in shown


def test_the_threshold_of_a_bound_is_not_drawn_at_one_half():
    bounded = dataclasses.replace(RULE, max_false_accept=0.01)
    assert "threshold" in view.verdict(SAME, RULE)
    assert "threshold" not in view.verdict(SAME, bounded)
    unsure = dataclasses.replace(SAME, same_speaker=False, verdict="inconclusive")
    assert "ask for more speech" in view.verdict(unsure, bounded)


def identification(speaker, *candidates):
    verdict: Verdict = "different" if speaker is None else "same"
    return Identification(speaker, verdict, tuple(Candidate(*each) for each in candidates))


def test_identification_names_the_best_or_says_unknown():
    known = view.identified(identification("Sita", ("Sita", SAME), ("Ram", DIFFERENT)), RULE)
    assert "<h2>✓ Sita</h2>" in known
    assert known.index("97.3 %") < known.index("Ram")
    unknown = view.identified(identification(None, ("Ram", DIFFERENT)), RULE)
    assert "<h2>? Unknown speaker</h2>" in unknown and "Ram" in unknown
    assert view.identified(identification(None), RULE) == view.nobody_enrolled()


def test_enrolment_tells_speech_and_consistency():
    parts = (Part("a.wav", 0.2, matches=True), Part("b.wav", 0.4, matches=True))
    shown = view.enrolled(EnrolmentReport("Sita", 2, 12.34, parts))
    assert "12.3 s" in shown and "0.300 mean" in shown and "0.400 largest" in shown
    assert "swar-same" in shown and "another person" not in shown


def test_enrolment_says_where_nothing_was_added():
    assert "nothing was added" in view.enrolled(EnrolmentReport("Sita", 0, 12.3, ()))
    assert "nothing was added" not in view.enrolled(EnrolmentReport("Sita", 1, 12.3, ()))


def speaker(name):
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return Speaker(name, 2, 12.3, at, audio_kept=False, consent="", expires_at=None)


def test_many_speakers_are_counted_and_the_first_listed():
    shown = view.speakers([speaker(f"speaker {n:03}") for n in range(150)])
    assert "150 speakers" in shown and "The first 100" in shown
    assert "speaker 099" in shown and "speaker 100" not in shown
    assert "22 Nov 2026" in shown


def test_names_are_text_not_html():
    name = '<img src=x onerror="alert(1)">'
    odd = (Part(name, 1.4, matches=False),)
    for shown in (
        view.identified(identification(name, (name, SAME)), RULE),
        view.enrolled(EnrolmentReport(name, 1, 9.0, odd)),
        view.speakers([speaker(name)]),
        view.forgotten(name, 1),
        view.error(name),
    ):
        assert "<img" not in shown
        assert "&lt;img" in shown
