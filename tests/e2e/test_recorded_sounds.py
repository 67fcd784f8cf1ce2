"""A folder of noise: its files decide what is cached, and a wrong one is told in one line."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import pipeline
from tests.bad_recordings import speech_like
from tests.e2e.support_runs import PAIRS, SPEECH, Ended, arguments

pytestmark = pytest.mark.slow
RATE = 16_000
FEW = (
    "pairs.train.similar_per_speaker=4",
    "pairs.held_out.similar_per_speaker=2",
    "pairs.held_out.dissimilar=2",
    "pairs.condition.similar_per_speaker=0",
    "pairs.condition.dissimilar=0",
)


@pytest.fixture
def without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema that ends the run before it."""
    impossible = tmp_path / "impossible.pbtxt"
    more = 'feature { name: "never_there" presence { min_count: 1 } }\n'
    impossible.write_text(pipeline.PAIR_SCHEMA.read_text() + more)
    monkeypatch.setattr(pipeline, "PAIR_SCHEMA", impossible)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five speakers with a recording each."""
    folder = tmp_path / "data"
    for number, speaker in enumerate(("asha", "bina", "chandra", "dil", "ekta")):
        (folder / speaker).mkdir(parents=True)
        samples = speech_like(number, RATE, 15.0)
        soundfile.write(folder / speaker / "a.wav", samples, RATE)
    return folder


@pytest.mark.usefixtures("without_training")
def test_a_changed_folder_makes_the_pairs_again_and_a_wrong_one_ends_the_run(
    swar: Callable[[list[str]], Ended], data: Path, tmp_path: Path
) -> None:
    noise = tmp_path / "noise"
    noisy = (
        *FEW,
        "pairs.augmentation.noise_probability=1",
        f"pairs.augmentation.noise_folder={noise}",
    )

    def run() -> Ended:
        return swar(arguments(data, tmp_path / "output", *noisy))

    missing = run()
    assert (missing.status, missing.states()) == (2, {})
    assert re.fullmatch(
        r"swar: error: pairs\.augmentation\.noise_folder '.*/noise' does not exist\n", missing.err
    )
    noise.mkdir()
    samples = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    soundfile.write(noise / "street.wav", samples, RATE)
    first, again = run().states(), run().states()
    assert (first[SPEECH], first[PAIRS]) == ("done", "done")
    assert (again[SPEECH], again[PAIRS]) == ("cached", "cached")
    soundfile.write(noise / "street.wav", np.tile(samples, 2), RATE)
    changed = run().states()
    assert (changed[SPEECH], changed[PAIRS]) == ("cached", "done")
    soundfile.write(noise / "silent.wav", 0 * samples, RATE)
    ended = run()
    assert (ended.status, ended.states()[PAIRS]) == (2, "failed")
    assert re.fullmatch(r"swar: error: '.*/silent\.wav' is silent in .*\n", ended.err)
