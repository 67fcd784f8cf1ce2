"""Which split and duration come first, and too little speech."""

import pytest

from components import features
from components.errors import SwarError
from components.verification_report.judging import ENOUGH_TRIALS, detail_trials, judge_splits
from tests.components.verification_report.support_report import (
    SETTINGS,
    WINDOW_SAMPLES,
    PitchModel,
    piece,
    pieces_of,
    speech,
    voice,
    write_speech,
)


def _judge(folder, examples, **changed):
    pieces = pieces_of(write_speech(folder, examples))
    settings = SETTINGS.model_copy(update=changed)
    return judge_splits(pieces, PitchModel(), WINDOW_SAMPLES, settings, {})


@pytest.mark.parametrize(("wanted", "taken"), [(0.1, 0.5), (0.7, 0.5), (0.8, 1.0), (30.0, 1.0)])
def test_the_nearest_duration_is_shown_in_detail(tmp_path, wanted, taken):
    judged = _judge(tmp_path, speech(), detail_seconds=wanted)
    assert (judged.headline, judged.detail_seconds) == ("unseen", taken)
    assert set(detail_trials(judged, "unseen")["duration_seconds"]) == {taken}


def test_a_duration_with_few_trials_is_not_shown_while_another_has_more(tmp_path):
    # Of 2.4 s there are two utterances in a recording of 5 s, and eight trials of one person.
    judged = _judge(tmp_path, speech(), duration_seconds=(0.5, 2.4), detail_seconds=2.4)
    similar = {
        each.duration_seconds: each.similar
        for each in judged.selections
        if each.set == features.UNSEEN
    }
    assert similar[2.4] < ENOUGH_TRIALS <= similar[0.5]
    assert judged.detail_seconds == 0.5


def test_a_duration_that_nobody_has_is_left_out(tmp_path):
    judged = _judge(tmp_path, speech(), duration_seconds=(0.5, 60.0), detail_seconds=60.0)
    assert judged.detail_seconds == 0.5
    assert set(judged.trials["duration_seconds"]) == {0.5}


def test_one_unseen_speaker_is_not_judged_on(tmp_path):
    examples = speech(unseen={})
    examples[features.UNSEEN] = [piece("gita", "female", "gita/1.wav", 0.0, voice(9, 5.0))]
    assert _judge(tmp_path, examples).headline == features.EVAL


def test_utterances_that_the_model_refuses_are_counted(tmp_path):
    examples = speech()
    silent = voice(9, 3.0) * 0
    examples[features.UNSEEN].append(piece("gita", "female", "gita/1.wav", 0.0, silent))
    judged = _judge(tmp_path, examples)
    refused = {(each.set, each.reason) for each in judged.embedded.unusable}
    assert refused == {("unseen", "no_speech")}
    assert "gita" not in set(judged.trials["speaker_a"]) | set(judged.trials["speaker_b"])


def test_too_little_speech_is_told(tmp_path):
    examples = {
        features.EVAL: [
            piece(name, "female", f"{name}/1.wav", 0.0, voice(seed, 0.6))
            for seed, name in enumerate(("asha", "bina"))
        ]
    }
    with pytest.raises(SwarError, match="too little speech to report on"):
        _judge(tmp_path, examples)
