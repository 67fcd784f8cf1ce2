"""Fits the speech gate on real speech under all conditions and made sounds of many kinds.

`python -m benchmarks.quality.speech_gate SPEECH`: SPEECH holds a folder for each set, as in
`benchmarks.quality.manifests`. Prints how many sounds of each kind pass for speech at a gate fitted
without that kind, and how much speech is refused of speakers that it was not fitted on; then writes
`pretrained/speech_gate.json`, fitted on all.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from benchmarks.quality.made_sounds import KINDS, RATE
from components import audio
from components.conditions import CONDITIONS
from components.recordings.sources import list_recordings
from components.settings import SpeechSettings
from components.speech_detection import detector_of
from components.speech_gate import WEIGHTS_FILE, SpeechGate
from pipeline.sample_data.speech import write_sample_speech

NOT_TO_PUBLISH: Final = ("hyke",)
"""Sets whose licence does not allow a published model to be fitted to them."""
SPEAKERS_OF_A_SET: Final = 900
OF_A_KIND: Final = 150
SYNTHETIC_SPEAKERS: Final = 40
SECONDS: Final = (0.6, 8.0)
REFUSED_SPEECH: Final = 0.005
"""Share of new speakers' speech that the gate may refuse."""
FOLDS: Final = 5
INVERSE_REGULARISATION: Final = 0.5
SEED: Final = 0

Sound = npt.NDArray[np.float32]


def _degraded(sound: Sound, rng: np.random.Generator) -> Sound:
    """A sound at any level, half the time under a condition."""
    level = 10.0 ** rng.uniform(-2.0, 0.0) / max(float(np.max(np.abs(sound))), 1e-9)
    quieter: Sound = (sound * level * 0.5).astype(np.float32)
    if rng.random() < 0.5:
        return quieter
    condition = CONDITIONS[str(rng.choice(list(CONDITIONS)))]
    clipped: Sound = np.clip(condition(quieter, RATE, rng), -1.0, 1.0)
    return clipped


def speech(folder: Path, rng: np.random.Generator) -> Iterator[tuple[str, Sound]]:
    """(set/speaker, samples): a cut of one recording of each speaker."""
    recordings = list_recordings(str(folder)).recordings
    first = {item.speaker: item for item in recordings}
    for speaker in sorted(first)[:SPEAKERS_OF_A_SET]:
        try:
            samples = audio.decode(first[speaker].path, sample_rate=RATE)
        except audio.AudioError:
            continue
        wanted = round(rng.uniform(*SECONDS) * RATE)
        start = rng.integers(max(1, len(samples) - wanted))
        cut = samples[start : start + wanted]
        if len(cut) and np.any(cut):
            yield f"{folder.name}/{speaker}", _degraded(cut, rng)


def synthetic_speech(rng: np.random.Generator) -> Iterator[tuple[str, Sound]]:
    """(made/speaker, samples): cuts of the sample data's voices."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        write_sample_speech(data, speakers=SYNTHETIC_SPEAKERS, seconds=30.0)
        for path in sorted(data.glob("*/*")):
            samples = audio.decode(path, sample_rate=RATE)
            wanted = round(rng.uniform(*SECONDS) * RATE)
            start = rng.integers(max(1, len(samples) - wanted))
            yield f"made/{path.parent.name}", _degraded(samples[start : start + wanted], rng)


def non_speech(rng: np.random.Generator) -> Iterator[tuple[str, Sound]]:
    """(kind, samples): made sounds."""
    for name, make in KINDS.items():
        for _ in range(OF_A_KIND):
            samples = round(rng.uniform(1.0, SECONDS[1]) * RATE)
            yield name, _degraded(make(samples, rng).astype(np.float32), rng)


class Sounds(NamedTuple):
    """What the gate is fitted on."""

    features: npt.NDArray[np.float64]
    """[N, features]."""
    is_speech: npt.NDArray[np.bool_]
    """[N]."""
    groups: npt.NDArray[np.str_]
    """[N], set/speaker or the kind."""


class Listener:
    """Computes the gate's features of recordings."""

    def __init__(self) -> None:
        settings = SpeechSettings(sample_rate=RATE)
        detector = detector_of(settings)
        gate = SpeechGate(RATE, weights={})
        self._least = round(settings.min_speech_seconds * RATE)
        self._speech = tf.function(detector.call, [tf.TensorSpec([None], tf.float32)])
        self._features = tf.function(
            lambda pcm16: gate.features(gate.seconds(pcm16)), [tf.TensorSpec([None], tf.int16)]
        )

    def features(self, sound: Sound) -> npt.NDArray[np.float64] | None:
        """float64 [features]; None where the detector leaves too little."""
        kept, _ = self._speech(sound)
        if len(kept) < self._least:
            return None
        found: npt.NDArray[np.float64] = self._features(kept).numpy().astype(np.float64)
        return found


def _regression() -> Pipeline:
    return make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
        LogisticRegression(C=INVERSE_REGULARISATION, max_iter=3_000, class_weight="balanced"),
    )


def _judge(sounds: Sounds) -> float:
    """Prints how gates judge new kinds and speakers; gives their threshold."""
    features, is_speech, groups = sounds
    scores = np.zeros(len(groups))
    for seen, unseen in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED).split(
        features, is_speech, groups
    ):
        fitted = _regression().fit(features[seen], is_speech[seen])
        scores[unseen] = fitted.decision_function(features[unseen])
    threshold = float(np.quantile(scores[is_speech], REFUSED_SPEECH))
    accepted = scores > threshold
    print(f"kinds not met before, taken for speech: {np.mean(accepted[~is_speech]):.1%}")
    for kind in sorted(set(groups[~is_speech])):
        share = np.mean(accepted[groups == kind])
        if share:
            print(f"  {kind}: {share:.0%}")
    sets = np.array([group.partition("/")[0] for group in groups])
    for name in sorted(set(sets[is_speech])):
        refused = np.mean(~accepted[is_speech & (sets == name)])
        print(f"speech of {name}, refused: {refused:.1%}")
    return threshold


def _weights(fitted: Pipeline, threshold: float) -> dict[str, Any]:
    """Weights for `SpeechGate`, products in the order of `PolynomialFeatures`."""
    scaler, _, regression = (step for _, step in fitted.steps)
    return {
        "mean": [round(float(value), 6) for value in scaler.mean_],
        "scale": [round(float(value), 6) for value in scaler.scale_],
        "weights": [round(float(value), 6) for value in regression.coef_[0]],
        "bias": round(float(regression.intercept_[0]) - threshold, 6),
    }


def gather(folder: Path) -> Sounds:
    """The features of all speech and all other sounds."""
    rng = np.random.default_rng(SEED)
    listener = Listener()
    rows, groups, spoken = [], [], []
    lost = {True: 0, False: 0}
    sets = [each for each in sorted(folder.iterdir()) if each.is_dir()]
    for is_speech, sounds in [
        *((True, speech(each, rng)) for each in sets if each.name not in NOT_TO_PUBLISH),
        (True, synthetic_speech(rng)),
        (False, non_speech(rng)),
    ]:
        for group, sound in sounds:
            found = listener.features(sound)
            if found is None:
                lost[is_speech] += 1
                continue
            rows.append(found)
            groups.append(group)
            spoken.append(is_speech)
    print(
        f"{sum(spoken)} cuts of speech ({lost[True]} more had too little of it), "
        f"{len(spoken) - sum(spoken)} other sounds ({lost[False]} more were steady or silent)"
    )
    return Sounds(np.array(rows), np.array(spoken), np.array(groups))


def run(folder: Path) -> None:
    """Judges and fits the gate, and writes it."""
    sounds = gather(folder)
    threshold = _judge(sounds)
    fitted = _regression().fit(sounds.features, sounds.is_speech)
    scores = fitted.decision_function(sounds.features)
    accepted = scores > threshold
    print(f"kinds met before, taken for speech: {np.mean(accepted[~sounds.is_speech]):.2%}")
    print(f"speech met before, refused: {np.mean(~accepted[sounds.is_speech]):.2%}")
    weights = json.dumps(_weights(fitted, threshold))
    Path("pretrained", WEIGHTS_FILE).write_text(weights + "\n", "utf-8")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    run(Path(sys.argv[1]))
