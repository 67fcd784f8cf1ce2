"""`swar calibrate`: a published model's threshold, slope and expected rates from other recordings.

Nothing is trained: the embeddings and the normalisation of distances stay as they are.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from components import audio
from components.errors import SwarError
from components.file_lock import locked
from components.keyed_random import keyed_generator
from components.model.calibration import Calibration
from components.model.export import export
from components.model.files import model_folder
from components.model.published import PublishedModel
from components.model.published_parts import PublishedParts
from components.pcm16 import pack_wav, to_pcm16
from components.pusher.publish import publish
from components.recording_quality import quality_of
from components.recordings.files import open_locally
from components.recordings.sources import Listing, Recording, data_digest
from components.serving_check.check import check_served
from components.settings import TrainerSettings
from components.terminal import Console
from components.trainer.calibration import (
    WINDOWS_OF_UTTERANCE,
    NoDifference,
    OneKindOfTrials,
    calibrate,
    calibration_trials,
)
from components.trainer.calibration_report import calibration_report
from components.trainer.utterances import EmbeddedWindows, WindowOrigins
from components.verification.utterances import Cut, Unused, embed
from pipeline.evaluation.scoring import (
    by_speaker,
    list_sets,
    name_sets,
    sets_trained_on,
    shown,
)
from pipeline.evaluation.speech import window_cutter
from pipeline.failures import storage_errors
from pipeline.output.folder import METADATA, claimed

LEAST_SPEAKERS: Final = 10
"""Speakers with two utterances each: 45 pairs of speakers. With fewer, the intervals span most
possible rates, and one unusual speaker sets the threshold for all."""
MOST_WINDOWS: Final = 4_000
"""Windows of all speakers, as many as in a training: more take longer and change little."""
LEAST_WINDOWS: Final = 2 * max(WINDOWS_OF_UTTERANCE)
"""Least windows of a speaker, for two of the longest utterances. If MOST_WINDOWS leave no room for
so many of each speaker, only some speakers are drawn."""
MOST_MEASURED: Final = 200
"""Recordings whose quality is measured, drawn from all."""
_COMPARED_WINDOWS: Final = 16
_RARE_PERCENT: Final = 5  # below this percentile are a few odd recordings
NEAREST_FRACTION: Final = TrainerSettings.model_fields["calibration_nearest_fraction"].default
# The ratio that windows and resampling cause in one microphone's recordings.
_LEAST_BANDWIDTH_RATIO: Final = 1.5


class CalibrationWindows(NamedTuple):
    """The windows of the speakers of a set."""

    windows: EmbeddedWindows
    speakers_left_out: int
    """Speakers who were not drawn, since there are too many."""
    unused: list[Unused]
    """Recordings without a window, and windows that the model refused."""
    sample: list[Cut]
    """A few of the windows' sounds."""


@dataclass(frozen=True)
class CalibratedModel:
    """A version that was published, and what it was calibrated on."""

    path: str
    model_digest: str
    threshold: float
    slope: float
    former_threshold: float
    former_slope: float
    calibrated_on: dict[str, Any]
    """`data`, the name of the set, its `data_digest`, and how many `speakers` and `recordings`."""
    calibration: dict[str, Any]
    """See `calibration_report`."""
    speakers_left_out: int
    unused: tuple[Unused, ...]


def calibrate_model(
    model: str, data: str, output: Path, console: Console, *, follow_links: bool
) -> CalibratedModel:
    """Publishes a model with the threshold, slope and expected rates of other speakers.

    Args:
        model: as `components.model.files.model_folder` takes it.
        data: folder of speakers, or manifest.
        output: folder of versions to add the new one to.
        console: shows the progress.
        follow_links: whether links in the data that lead out of it are followed.

    Raises:
        SwarError: the model, the data or the folder is at fault, a run is writing to the folder, or
            the speakers are too few, or known to the model, or not told apart by it.
    """
    run = output.absolute().parent
    is_of_run = (run / METADATA).is_file()
    lock = claimed(run) if is_of_run else contextlib.nullcontext()
    with storage_errors(output), lock:
        return _calibrated(model, data, output, console, follow_links=follow_links)


def _calibrated(
    model: str, data: str, output: Path, console: Console, *, follow_links: bool
) -> CalibratedModel:
    folder = model_folder(model)
    sets = name_sets([data])
    (name,) = sets
    listings = list_sets(sets, folder, console, follow_links=follow_links)
    listing = listings[name]
    _check_speakers(name, len({each.speaker for each in listing.recordings}), "recordings")
    served = PublishedModel(folder)
    if sets_trained_on(listings, served):
        raise SwarError(
            f"{name} is what {folder} was trained on, and says nothing of other speakers: "
            "calibrate on speakers that the model does not know"
        )
    parts = PublishedParts.read(folder)
    embedded = embed_windows(name, listing, served, parts, console)
    calibration, report = learn_calibration(name, embedded.windows, parts.trainer.seed)
    used = set(embedded.windows.windows.recording.tolist())
    report["conditions"] = measure_conditions(
        [each for each in listing.recordings if each.recording.encode() in used],
        parts.front_end.speech.sample_rate,
        parts.front_end.serving.max_seconds,
        parts.trainer.seed,
    )
    calibrated_on = {
        "data": name,
        "data_digest": data_digest(listing),
        "speakers": len(embedded.windows.speakers),
        "recordings": len(np.unique(embedded.windows.windows.recording)),
    }
    card = parts.card | {"calibration": report, "calibrated_on": calibrated_on}
    return CalibratedModel(
        path=_published(parts, calibration, card, served, embedded.sample, output),
        model_digest=parts.card["model_digest"],
        threshold=calibration.threshold,
        slope=calibration.slope,
        former_threshold=parts.card["threshold"],
        former_slope=parts.card["slope"],
        calibrated_on=calibrated_on,
        calibration=report,
        speakers_left_out=embedded.speakers_left_out,
        unused=tuple(embedded.unused),
    )


def _published(
    parts: PublishedParts,
    calibration: Calibration,
    card: dict[str, Any],
    served: PublishedModel,
    sample: list[Cut],
    output: Path,
) -> str:
    """Publishes the model with another calibration and card; gives the new version's folder."""
    with tempfile.TemporaryDirectory(prefix="swar-") as work:
        export(
            parts.tower,
            calibration,
            parts.front_end,
            card,
            work,
            unit_norm=parts.trainer.unit_norm,
            normalisation=parts.normalisation,
            digest=parts.card["model_digest"],
        )
        _check_embeddings(served, PublishedModel(Path(work), is_published=False), sample)
        check_served(work)
        output.mkdir(parents=True, exist_ok=True)
        # One at a time, since publishing removes versions that are half written.
        with locked(os.open(output, os.O_RDONLY)):
            return publish(work, str(output))


def embed_windows(
    name: str, listing: Listing, served: PublishedModel, parts: PublishedParts, console: Console
) -> CalibrationWindows:
    """Cuts each speaker's speech end to end into windows, and embeds these one by one.

    Args:
        name: of the set.
        listing: its recordings.
        served: the model that embeds.
        parts: of the same model.
        console: shows the progress.
    """
    recordings = by_speaker(listing)
    seed, rate = parts.trainer.seed, parts.front_end.speech.sample_rate
    of_each = max(LEAST_WINDOWS, MOST_WINDOWS // len(recordings))
    drawn = keyed_generator(seed, "calibration_speakers").permutation(sorted(recordings))
    drawn = drawn[: MOST_WINDOWS // of_each]
    cutter = window_cutter(name, parts.front_end, per_speaker=of_each, seed=seed)
    sample: list[Cut] = []

    def groups() -> Iterator[Sequence[Cut]]:
        for speaker in sorted(drawn.tolist()):
            cuts = cutter.cut(recordings[speaker])
            sample.extend(cuts[: _COMPARED_WINDOWS - len(sample)])
            yield cuts

    with shown(console, f"{name}: speakers", len(drawn)) as track:
        embedded = embed(track(groups()), served).in_order()
    table = embedded.utterances
    windows = EmbeddedWindows(
        embedded.embeddings,
        WindowOrigins(
            np.array([each.encode() for each in table["speaker"]], object),
            np.array([each.encode() for each in table["recording"]], object),
            table["start_seconds"].to_numpy(np.float32),
        ),
        parts.front_end.spectrogram.window_samples(rate) / rate,
        parts.trainer.unit_norm,
        parts.normalisation,
    )
    listed = [Unused(name, item.file, item.reason, item.detail) for item in listing.rejects]
    unused = listed + cutter.rejected + embedded.unusable
    return CalibrationWindows(windows, len(recordings) - len(drawn), unused, sample)


def measure_conditions(
    recordings: Sequence[Recording], sample_rate: int, max_seconds: float, seed: int
) -> dict[str, float]:
    """Measures the quality of recordings: for worse ones the expected rates are not valid.

    Args:
        recordings: those that a model is calibrated on; at most MOST_MEASURED are measured.
        sample_rate: of the model, in Hz.
        max_seconds: how much of a longer recording is measured.
        seed: of the draw.

    Returns:
        `least_snr_db` and `least_bandwidth_hz`, which all but a twentieth of them reach, and
        `largest_bandwidth_ratio`, between two of these.
    """
    drawn = keyed_generator(seed, "calibration_conditions").permutation(len(recordings))
    qualities = []
    for recording in [recordings[at] for at in sorted(drawn[:MOST_MEASURED].tolist())]:
        start = recording.start_seconds or 0.0
        end = start + max_seconds if recording.end_seconds is None else recording.end_seconds
        with open_locally(recording.path) as path:
            samples = audio.decode(
                path,
                sample_rate=sample_rate,
                start_seconds=recording.start_seconds,
                end_seconds=min(end, start + max_seconds),
            )
        qualities.append(quality_of(to_pcm16(samples), sample_rate))
    least_hz = float(np.percentile([each.bandwidth_hz for each in qualities], _RARE_PERCENT))
    most_hz = max(each.bandwidth_hz for each in qualities)
    return {
        "least_snr_db": float(np.percentile([each.snr_db for each in qualities], _RARE_PERCENT)),
        "least_bandwidth_hz": least_hz,
        "largest_bandwidth_ratio": max(_LEAST_BANDWIDTH_RATIO, most_hz / max(1.0, least_hz)),
    }


def learn_calibration(
    name: str, windows: EmbeddedWindows, seed: int
) -> tuple[Calibration, dict[str, Any]]:
    """Learns threshold and slope as a training does by default, and the expected error rates.

    The share of nearest speakers is not the model's setting: a model that was trained on several
    kinds of people has a small one, so that these are of one kind, as the speakers here are.

    Args:
        name: of the set, for messages.
        windows: of its speakers.
        seed: of the intervals.

    Raises:
        SwarError: the speakers are too few, or the model does not tell them apart.
    """
    _check_utterances(name, windows, 1)
    trials = calibration_trials(windows, NEAREST_FRACTION)
    counts = sorted(set(trials.windows.tolist()))
    try:
        calibration = calibrate(trials)
    except OneKindOfTrials as error:
        raise SwarError(
            f"no speaker of {name} has two utterances of {windows.window_seconds:g} s of speech "
            "that can be compared: add longer recordings, or more of each speaker"
        ) from error
    except NoDifference as error:
        raise SwarError(
            f"the model does not tell the speakers of {name} apart: two utterances of one are no "
            "nearer than of two: look whether each folder holds one person, or train on such speech"
        ) from error
    _check_utterances(name, windows, counts[0])
    return calibration, calibration_report(windows, calibration, NEAREST_FRACTION, counts, seed)


def _check_utterances(name: str, windows: EmbeddedWindows, count: int) -> None:
    """Raises SwarError unless enough speakers have two utterances of so many windows."""
    seconds = count * windows.window_seconds
    _, utterances = np.unique(windows.utterances(count, seconds).speaker, return_counts=True)
    _check_speakers(name, int(np.sum(utterances >= 2)), f"two utterances of {seconds:.3g} s each")


def _check_speakers(name: str, speakers: int, having: str) -> None:
    if speakers < LEAST_SPEAKERS:
        raise SwarError(
            f"{name}: {speakers} speakers with {having}, and from fewer than {LEAST_SPEAKERS} a "
            "calibration can say nothing of others: add speakers, or longer recordings"
        )


def _check_embeddings(served: PublishedModel, exported: PublishedModel, sample: list[Cut]) -> None:
    """Compares a model's embeddings with its new export's, whose code may be newer.

    Raises:
        SwarError: the embeddings differ, so galleries would not fit the new version.
    """
    wavs = [pack_wav(cut.pcm16, cut.sample_rate) for cut in sample]
    before, after = (each.embed(wavs).embedding for each in (served, exported))
    if not np.allclose(before, after, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise SwarError(
            f"{served.folder} was published by a version of swar that embeds otherwise than this "
            "one: calibrate it with that version, or train anew"
        )
