"""Speech of made-up speakers, a model that hears their pitch, and a report on both."""

import io
import json
from typing import Any, NamedTuple

import numpy as np
import soundfile
import tensorflow as tf

from components import features
from components.settings import ReportSettings
from components.verification_report.judging import judge_splits
from components.verification_report.pieces import read_pieces
from components.verification_report.report import report_files

RATE = 8_000
WINDOW_SAMPLES = 4_000
QUIET = 0.01
THRESHOLD, SLOPE = 0.55, 8.0
SETTINGS = ReportSettings(
    duration_seconds=(0.5, 1.0),
    detail_seconds=1.0,
    enrolment_seconds=(1.0, 2.5, 60.0),
    utterances_per_speaker=6,
    condition_utterances=12,
    resamples=40,
    worst_pairs=3,
    article=True,
)
# Names in Devanagari, and one that is HTML.
SEEN = {"आशा थापा": "female", "bina": "female", "<b>chandra</b> & co": "male", "dev": "male"}
UNSEEN = {"गीता राई": "female", "esha": "female", "hari": "male", "ram": "unknown"}
# Two unseen speakers of each language; the recordings of one are of two sessions.
COLUMNS = {
    f"{speaker}/{take}.wav": {"language": language}
    for speaker, language in zip(UNSEEN, ("ne", "en", "ne", "en"), strict=True)
    for take in range(2)
}
SESSIONS = {"esha/0.wav": "monday", "esha/1.wav": "friday"}
FIRST_WIDEBAND = "f"  # who comes before it in the alphabet speaks on the telephone
SPLIT_SECONDS = {features.TRAIN: 12.0, features.CALIBRATION: 3.0, features.EVAL: 7.0}
REJECTS: list[dict[str, Any]] = [
    {"file": "asha/empty.wav", "reason": "empty_file", "seconds": None, "detail": "holds no bytes"},
    {"file": "bina/<i>.wav", "reason": "silent", "seconds": 3.0, "detail": "no speech"},
]


def rates(eer, cllr, false_accept_rate, false_reject_rate):
    """Rates as a card promises them, with intervals."""
    values = {"eer": eer, "cllr": cllr, "false_accept_rate": false_accept_rate,
            "false_reject_rate": false_reject_rate}  # fmt: skip
    return {
        name: {"value": value, "low": value / 2, "high": 1.5 * value}
        for name, value in values.items()
    }


CARD: dict[str, Any] = {
    "model_digest": "0123456789abcdef",
    "config_digest": "c" * 64,
    "data_digest": "d" * 64,
    "code_digest": "e" * 64,
    "sample_rate": RATE,
    "embedding_size": 6,
    "threshold": THRESHOLD,
    "slope": SLOPE,
    "best_epoch": 2,
    "trainer": {"blocks": [1, 1], "head": "pooled", "loss": "supervised", "weights": "none",
                "epochs": 3, "learning_rate": 0.001},
    "spectrogram": {"window_seconds": 0.5},
    "serving": {"max_seconds": 120.0},
    "history": [
        {
            "epoch": epoch, "loss": 3.0 / epoch,
            "train_mean_similar_distance": 0.9 / epoch,
            "train_mean_dissimilar_distance": 1.0 + 0.1 * epoch,
            "eval_mean_similar_distance": 1.0 / epoch,
            "eval_mean_dissimilar_distance": 0.9 + 0.1 * epoch,
            "eval_eer": 0.3 / epoch, "calibration_eer": 0.25 / epoch,
        }
        for epoch in (1, 2, 3)
    ],
    "calibration": {
        "speakers": 4,
        "nontargets": [
            {"seconds": 0.1, "similar": 50, "dissimilar": 120, **rates(0.09, 0.31, 0.08, 0.09)},
            {"seconds": 0.8, "similar": 120, "dissimilar": 300, **rates(0.06, 0.21, 0.05, 0.07)},
        ],
        "nearest_nontargets": [
            {"seconds": 0.1, "similar": 50, "dissimilar": 30, **rates(0.19, 0.51, 0.18, 0.09)},
            {"seconds": 0.8, "similar": 120, "dissimilar": 80, **rates(0.12, 0.41, 0.15, 0.07)},
        ],
        "operating_points": [
            {"max_false_accept_rate": 0.05, "speakers_needed": 36, "threshold": 0.4},
            {"max_false_accept_rate": 0.02, "speakers_needed": 56, "threshold": 0.3},
            {"max_false_accept_rate": 0.01, "speakers_needed": 78, "threshold": None},
        ],
    },
}  # fmt: skip


class FakeOutput(NamedTuple):
    """What the made-up model says."""

    embedding: np.ndarray
    speech_seconds: np.ndarray
    status: list[str]


class PitchModel:
    """Embeds a sound by the energy in a few bands, hears what is not quiet, refuses silence."""

    def __init__(self, card=CARD):
        self.card = card

    def embed(self, wavs):
        rows = [self._embed(soundfile.read(io.BytesIO(wav))[0]) for wav in wavs]
        return FakeOutput(
            np.stack([row for row, _ in rows]).astype(np.float32),
            np.array([seconds for _, seconds in rows], np.float32),
            ["ok" if np.isfinite(row[0]) else "no_speech" for row, _ in rows],
        )

    def _embed(self, samples):
        if not samples.any():
            return np.full(6, np.nan), 0.0
        power = np.abs(np.fft.rfft(samples)) ** 2
        bands = np.array([np.log(band.sum() + 1e-9) for band in np.array_split(power[:1500], 6)])
        bands -= bands.mean()
        return bands / np.linalg.norm(bands), np.sum(np.abs(samples) > QUIET) / RATE

    def score(self, embedding_a, embedding_b):
        distance = np.linalg.norm(embedding_a - embedding_b, axis=1).astype(np.float32)
        probability = 1.0 / (1.0 + np.exp(-SLOPE * (THRESHOLD - distance.astype(np.float64))))
        return distance, probability.astype(np.float32), distance <= THRESHOLD


def voice(seed, seconds):
    """int16 noise with a speaker's own colour, which drifts."""
    rng = np.random.default_rng(round(100 * seed))
    samples = round(seconds * RATE)
    time = np.arange(samples) / RATE
    pitch = 150.0 + 110.0 * seed + 40.0 * np.sin(2.0 * np.pi * 0.31 * time + seed)
    tone = np.sin(2.0 * np.pi * np.cumsum(pitch) / RATE)
    return (6_000 * tone + 4_000 * rng.standard_normal(samples)).clip(-32767, 32767).astype("<i2")


def piece(speaker, gender, recording, start, pcm16, number=0):
    """A `speech` example."""
    return features.example(
        {
            features.PCM16: pcm16.astype("<i2").tobytes(),
            features.SAMPLE_RATE: RATE,
            features.SPEAKER: speaker.encode(),
            features.GENDER: gender.encode(),
            features.RECORDING: recording.encode(),
            features.PIECE: number,
            features.START_SECONDS: start,
            features.DURATION_SECONDS: len(pcm16) / RATE,
            features.KEPT_FRACTION: 1.0,
            features.CHANNEL: b"telephone" if speaker < FIRST_WIDEBAND else b"wideband",
            features.LEVEL_DBFS: -20.0,
        }
    )


def speech(unseen=UNSEEN):
    """Examples by split: recordings of the seen cut by time, two whole ones of each unseen.

    Args:
        unseen: their genders by name; for none there is no such split.
    """
    made: dict[str, list[tf.train.Example]] = {split: [] for split in SPLIT_SECONDS}
    for seed, (speaker, gender) in enumerate(SEEN.items()):
        pcm16 = voice(seed, sum(SPLIT_SECONDS.values()))
        start = 0
        for split, seconds in SPLIT_SECONDS.items():
            end = start + round(seconds * RATE)
            made[split].append(
                piece(speaker, gender, f"{speaker}/talk.wav", start / RATE, pcm16[start:end])
            )
            start = end
    if unseen:
        made[features.UNSEEN] = [
            piece(speaker, gender, f"{speaker}/{take}.wav", 0.0, voice(seed + 0.5 + 0.06 * take, 5))
            for seed, (speaker, gender) in enumerate(unseen.items())
            for take in range(2)
        ]
    return made


def write_speech(folder, examples):
    """A `speech` artifact's files."""
    for split, rows in examples.items():
        path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001"
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path)) as file:
            for row in rows:
                file.write(row.SerializeToString(deterministic=True))
    return folder


def pieces_of(folder):
    """Every piece of an artifact's files."""
    return [
        found
        for path in sorted(folder.glob("Split-*/*"))
        for found in read_pieces(path.parent.name.removeprefix("Split-"), str(path), SESSIONS)
    ]


class Report(NamedTuple):
    """A report, and what it was made from."""

    files: dict[str, bytes]
    examples: dict[str, list[tf.train.Example]]
    rejects: list[dict[str, Any]]
    card: dict[str, Any]
    blessed: bool
    settings: ReportSettings

    @property
    def figures(self):
        return json.loads(self.files["figures.json"])

    @property
    def html(self):
        return self.files["index.html"].decode()


def report(
    folder,
    *,
    examples=None,
    rejects=REJECTS,
    card=CARD,
    blessed=True,
    settings=SETTINGS,
    columns=COLUMNS,
):
    """Of the made-up speech."""
    examples = examples or speech()
    pieces = pieces_of(write_speech(folder, examples))
    judged = judge_splits(pieces, PitchModel(card), WINDOW_SAMPLES, settings, columns)
    files = report_files(pieces, rejects, card, judged, blessed, settings, columns)
    return Report(files, examples, rejects, card, blessed, settings)


def synthetic_report(folder):
    """Of enough unseen people for a headline, all of them synthetic; without the article."""
    unseen = {f"speaker {number:02d}": ("female", "male")[number % 2] for number in range(10)}
    recordings = [f"{name}/{take}.wav" for name in unseen for take in range(2)]
    recordings += [f"{name}/talk.wav" for name in SEEN]
    return report(
        folder,
        examples=speech(unseen),
        settings=SETTINGS.model_copy(update={"article": False}),
        columns={name: {"synthetic": "yes"} for name in recordings},
    )
