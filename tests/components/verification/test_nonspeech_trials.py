"""What is counted of sounds without speech."""

from types import SimpleNamespace

import numpy as np

from components.nonspeech import NONSPEECH, TAKES
from components.verification.robustness import measure_nonspeech
from components.verification.utterances import EmbeddedUtterances
from tests.components.verification.support_trials import score, utterances

RATE, TAKEN = 8_000, 5


class TakesTheFirst:
    """A model that takes a few sounds for speech, all of one place but the last of them."""

    score = staticmethod(score)

    def embed(self, wavs):
        status = ["ok"] * TAKEN + ["no_speech"] * (len(wavs) - TAKEN)
        place = np.zeros((len(wavs), 2), np.float32)
        place[TAKEN - 1] = 10.0
        return SimpleNamespace(embedding=place, speech_seconds=place[:, 0], status=status)


def measured(speech_places, max_pairs=10**6):
    table = utterances(2, per_recording=1).iloc[: len(speech_places)]
    return measure_nonspeech(
        TakesTheFirst(),
        EmbeddedUtterances(table, np.array(speech_places, np.float32).reshape(-1, 2), []),
        set_name="made", duration_seconds=1.0, sample_rate=RATE, max_pairs=max_pairs, seed=0,
    )  # fmt: skip


def test_takes_and_acceptances_are_counted():
    found = measured([[0.0, 0.0], [0.0, 0.1], [30.0, 0.0]])
    assert (found.sounds, found.taken) == (TAKES * len(NONSPEECH), TAKEN)
    assert sum(found.taken_by_kind.values()) == TAKEN
    assert list(found.taken_by_kind.values())[:4] == [2, 2, 1, 0]
    assert (found.pairs, found.same_speaker_pairs) == (10, 6)
    assert (found.pairs_with_speech, found.same_speaker_pairs_with_speech) == (15, 8)


def test_too_many_pairs_with_speech_are_sampled():
    found = measured([[0.0, 0.0], [0.0, 0.1]], max_pairs=3)
    assert found.pairs_with_speech == 3


def test_without_speech_to_compare_with_there_are_no_such_pairs():
    found = measured([])
    assert (found.pairs_with_speech, found.same_speaker_pairs_with_speech) == (0, 0)
    assert found.taken == TAKEN
