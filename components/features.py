"""Every key of the `speech` and `pairs` tf.Examples, defined once.

`speech`: one example per cleaned piece of a recording. `pairs`: one example per
trial, two log-mel windows and whether the same person speaks in both.
"""

from collections.abc import Mapping
from typing import Final

import tensorflow as tf

# Splits. `train`, `calibration` and `eval` cut each speaker's cleaned speech by
# time; `unseen` holds speakers that no other split has.
TRAIN: Final = "train"
CALIBRATION: Final = "calibration"
EVAL: Final = "eval"
UNSEEN: Final = "unseen"
SPLITS: Final = (TRAIN, CALIBRATION, EVAL, UNSEEN)
# `pairs` only: the held-out splits' pairs again, with side b under every condition.
UNDER_CONDITIONS: Final = {EVAL: "eval_conditions", UNSEEN: "unseen_conditions"}
PAIR_SPLITS: Final = (*SPLITS, *UNDER_CONDITIONS.values())

# `speech` only.
PCM16: Final = "pcm16"  # bytes: mono, little-endian, at SAMPLE_RATE
SAMPLE_RATE: Final = "sample_rate"  # int64, Hz
PIECE: Final = "piece"  # int64, index within the recording
DURATION_SECONDS: Final = "duration_seconds"  # float
KEPT_FRACTION: Final = "kept_fraction"  # float, of the trimmed recording
CHANNEL: Final = "channel"  # bytes, one of recordings.cleaning.CHANNELS

# `speech`, and with a suffix `_a` or `_b` in `pairs`.
SPEAKER: Final = "speaker"  # bytes
GENDER: Final = "gender"  # bytes, one of GENDERS
RECORDING: Final = "recording"  # bytes, path below the data folder
START_SECONDS: Final = "start_seconds"  # float, in the cleaned recording
LEVEL_DBFS: Final = "level_dbfs"  # float, RMS of the cleaned samples

# `pairs` only.
SPECTROGRAM: Final = "spectrogram"  # bytes: uint8 [n_mels, frames], packed
LABEL: Final = "label"  # int64, 1 same speaker, 0 different
GENDER_PAIR: Final = "gender_pair"  # bytes: a gender, or "mixed"
SPLIT: Final = "split"  # bytes, one of PAIR_SPLITS
CONDITION: Final = "condition"  # bytes, of side b: conditions.CLEAN or one of CONDITIONS
PAIR_ID: Final = "pair_id"  # bytes, unique within the artifact

SIDES: Final = ("a", "b")
GENDERS: Final = ("female", "male", "unknown")

# Outputs of the `score_pairs` signature.
DISTANCE: Final = "distance"  # float32 [N], Euclidean
PROBABILITY: Final = "probability"  # float32 [N], calibrated P(same speaker)


def sided(key: str, side: str) -> str:
    """The key of one side of a pair: `sided("speaker", "a")` is `speaker_a`."""
    return f"{key}_{side}"


def gender_pair(gender_a: str, gender_b: str) -> str:
    """The common gender, "mixed", or "unknown" where either is unknown."""
    if "unknown" in (gender_a, gender_b):
        return "unknown"
    return gender_a if gender_a == gender_b else "mixed"


def example(values: Mapping[str, bytes | int | float]) -> tf.train.Example:
    """A tf.Example with one value for each key, in the list of its type."""
    made = tf.train.Example()
    for key in sorted(values):
        value = values[key]
        feature = made.features.feature[key]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return made
