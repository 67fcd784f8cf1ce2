"""The answers of a Swar model, checked, so that no malformed value passes for one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from components.recording_quality import RecordingQuality
from serving.conditions import CalibratedConditions
from serving.wire import Tensor, parse_json

Vector = npt.NDArray[np.float32]

OK: Final = "ok"
Verdict = Literal["same", "different", "inconclusive"]
SAME: Final = "same"
DIFFERENT: Final = "different"
INCONCLUSIVE: Final = "inconclusive"
"""Too far apart for the chosen risk, but near enough for a looser one."""
_MAX_SECONDS: Final = 120.0  # for a model whose card names none
_SAMPLE_RATES_HZ: Final = (1_000, 384_000)
_LARGEST_EMBEDDING: Final = 2**16
_LONGEST_DIGEST: Final = 200


@dataclass(frozen=True)
class Embedding:
    """The model's embedding of one recording."""

    vector: Vector
    """float32 [D]; NaN unless the status is ok."""
    speech_seconds: float
    """Speech without the silence."""
    status: str
    """"ok", or why the model cannot use the recording."""
    model_digest: str
    """Names the model: vectors of two models cannot be compared."""
    quality: RecordingQuality | None = None
    """Of the recording; None if it was not decoded or measured."""


@dataclass(frozen=True)
class Decision:
    """Whether one person speaks in two recordings."""

    distance: float
    """Euclidean distance of the embeddings."""
    probability: float
    """Calibrated P(same speaker), at equal priors unless a rule has another prior."""
    same_speaker: bool
    """At the model's calibrated threshold, or at that of a rule."""
    verdict: Verdict
    """"same", "different" or "inconclusive"; the last one only by a rule."""
    quality_a: RecordingQuality | None = None
    """Of the recording in question; None if only embeddings are compared."""
    quality_b: RecordingQuality | None = None
    """Of the recording compared with it; None for an enrolled speaker."""
    warnings: tuple[str, ...] = ()
    """Why the expected error rates may not apply, a sentence each, if any."""


@dataclass(frozen=True)
class Description:
    """What a model says of itself."""

    sample_rate_hz: int
    """Of the WAVs that it accepts."""
    embedding_size: int
    threshold: float
    """The distance beyond which two recordings are of different speakers."""
    model_digest: str
    """Names the model: vectors of two models cannot be compared."""
    card: dict[str, Any]
    """What it was made from, as in the SavedModel's `assets.extra/swar.json`."""
    max_seconds: float
    """The longest recording that it accepts, in seconds."""
    conditions: CalibratedConditions = field(
        default_factory=lambda: CalibratedConditions.of_card({})
    )
    """The conditions that its expected error rates hold for."""


def description(outputs: Mapping[str, Tensor]) -> Description:
    """The answer of `describe` to one query; raises what `embeddings` does."""
    rate, size = (_whole(outputs, name) for name in ("sample_rate", "embedding_size"))
    (threshold,) = _numbers(outputs, "threshold", 1)
    (digest,), (card,) = _digests(outputs, 1), _texts(outputs, "card", 1)
    lowest, highest = _SAMPLE_RATES_HZ
    if not lowest <= rate <= highest:  # recordings are converted to it
        raise ValueError(f"a sample rate of {rate} Hz")
    if not 1 <= size <= _LARGEST_EMBEDDING:  # memory is taken for it
        raise ValueError(f"embeddings of {size} values")
    if not isinstance(content := parse_json(card.encode()), dict):
        raise ValueError("output 'card' holds no object")
    try:
        conditions = CalibratedConditions.of_card(content)
    except (AttributeError, TypeError) as error:
        raise ValueError("its card's calibration is of another form") from error
    max_seconds = _max_seconds(content)
    return Description(rate, size, float(threshold), digest, content, max_seconds, conditions)


def _max_seconds(card: Mapping[str, Any]) -> float:
    """From the card, checked: a client that trusted any number would decode any length."""
    seconds = (card.get("serving") or {"max_seconds": _MAX_SECONDS}).get("max_seconds")
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ValueError(f"its card says serving.max_seconds {seconds!r}")
    return float(seconds)


def embeddings(outputs: Mapping[str, Tensor], count: int) -> list[Embedding]:
    """The answer of `embed` to `count` recordings.

    Raises:
        ValueError: an output is missing, or its shape, type or value is wrong.
    """
    vectors = _numbers(outputs, "embedding", count, dimensions=2)
    seconds = _numbers(outputs, "speech_seconds", count)
    statuses = _texts(outputs, "status", count)
    digests = _digests(outputs, count)
    usable = np.array([status == OK for status in statuses])
    if not np.isfinite(vectors[usable]).all():
        raise ValueError("an embedding is NaN though its status is ok")
    return [
        Embedding(vector, float(speech), status, digest)
        for vector, speech, status, digest in zip(vectors, seconds, statuses, digests, strict=True)
    ]


def decisions(outputs: Mapping[str, Tensor], count: int) -> list[Decision]:
    """The scores of `count` comparisons; raises what `embeddings` does."""
    distances = _numbers(outputs, "distance", count)
    probabilities = _numbers(outputs, "probability", count)
    same = _numbers(outputs, "same_speaker", count)
    if not (np.isfinite(distances).all() and ((probabilities >= 0) & (probabilities <= 1)).all()):
        raise ValueError("a score is NaN or no probability though the recordings are ok")
    return [
        Decision(
            float(distance), float(probability), bool(together), SAME if together else DIFFERENT
        )
        for distance, probability, together in zip(distances, probabilities, same, strict=True)
    ]


def statuses(outputs: Mapping[str, Tensor]) -> tuple[str, str]:
    """Statuses of one comparison's recordings; raises what `embeddings` does."""
    return _texts(outputs, "status_a", 1)[0], _texts(outputs, "status_b", 1)[0]


def verified_seconds(outputs: Mapping[str, Tensor]) -> tuple[float | None, float | None]:
    """Seconds of speech in both recordings of one comparison; None if the model does not say.

    Models published by older versions have no such output.
    """
    if "speech_seconds_a" not in outputs:
        return None, None
    first, second = (float(_numbers(outputs, f"speech_seconds_{side}", 1)[0]) for side in "ab")
    return first, second


def _numbers(
    outputs: Mapping[str, Tensor], name: str, count: int, dimensions: int = 1
) -> npt.NDArray[np.float32]:
    values = _output(outputs, name, count, dimensions)
    if values.dtype.kind not in "bif":
        raise ValueError(f"output {name!r} holds no numbers")
    return values.astype(np.float32)


def _whole(outputs: Mapping[str, Tensor], name: str) -> int:
    (value,) = _numbers(outputs, name, 1)
    if not np.isfinite(value):
        raise ValueError(f"output {name!r} is {value}")
    return int(value)


def _texts(outputs: Mapping[str, Tensor], name: str, count: int) -> list[str]:
    values = _output(outputs, name, count, 1)
    if values.dtype.kind != "O":
        raise ValueError(f"output {name!r} holds no strings")
    return [value.decode("utf-8") for value in values]


def _digests(outputs: Mapping[str, Tensor], count: int) -> list[str]:
    """Digests of models, which galleries, logs and messages repeat."""
    digests = _texts(outputs, "model_digest", count)
    if not all(each.isprintable() and 1 <= len(each) <= _LONGEST_DIGEST for each in digests):
        raise ValueError("output 'model_digest' names no model")
    return digests


def _output(outputs: Mapping[str, Tensor], name: str, count: int, dimensions: int) -> Tensor:
    if name not in outputs:
        raise ValueError(f"no output {name!r}")
    values = outputs[name]
    if values.ndim != dimensions or len(values) != count:
        raise ValueError(f"output {name!r} is of shape {list(values.shape)} for {count} requests")
    return values
