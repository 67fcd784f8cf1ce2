"""A published model judged on folders of speakers: every utterance against every other."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from components.conditions import CLEAN
from components.errors import SwarError
from components.model_files import card_settings, model_folder
from components.published_model import PublishedModel
from components.recordings.sources import Listing, Recording
from components.recordings.splitting import unseen_speakers
from components.settings import SpectrogramSettings, SpeechSettings
from components.terminal import Console
from components.verification.identification import identify_each
from components.verification.results import Selection
from components.verification.robustness import (
    ConditionTrials,
    measure_nonspeech,
    score_conditions,
    under_conditions,
)
from components.verification.scoring import score
from components.verification.trials import choose_trials
from components.verification.utterances import EmbeddedUtterances, Unused
from pipeline.evaluation.scoring import (
    EvaluationSettings,
    ScoredEvaluation,
    SetScores,
    conclude,
    embed,
    list_sets,
    name_sets,
    sets_trained_on,
)
from pipeline.evaluation.speech import Cutter

# Short enough that little of a recording is left over, and a divisor of usual enrolments.
ENROLMENT_PIECE_SECONDS = 2.5
QUERY_SECONDS = 5.0


def evaluate(
    model: str | Path,
    data: Sequence[str],
    settings: EvaluationSettings,
    console: Console,
    *,
    only_unseen: bool,
) -> ScoredEvaluation:
    """Cuts, embeds and compares every speaker's speech, set by set.

    Args:
        model: a version's folder, or the one of all versions.
        data: folders of speakers, or manifests; each is a set, named by its last part.
        settings: bounds and seed.
        console: shows the progress.
        only_unseen: leave out the speakers that the model was trained on.

    Raises:
        SwarError: the model or the data is at fault; unseen speakers are asked for of data
            that is not, as a whole and unchanged, the training's.
    """
    sets = name_sets(data)
    version = model_folder(model)
    listings = list_sets(sets, version, follow_links=settings.follow_links)
    served = PublishedModel(version)
    trained_on = sets_trained_on(listings, served)
    if only_unseen:
        listings = {
            name: _without_seen(name, listing, served, is_known=name in trained_on)
            for name, listing in listings.items()
        }
    scores = [
        _score_set(name, listing, served, settings, console) for name, listing in listings.items()
    ]
    return conclude(served, sets, settings, scores, trained_on=() if only_unseen else trained_on)


def _without_seen(
    name: str, listing: Listing, served: PublishedModel, *, is_known: bool
) -> Listing:
    """What the set holds of the speakers that were held out of training as `unseen`."""
    if not is_known:
        raise SwarError(
            f"{name} is not, as a whole and unchanged, the data that {served.folder} was trained "
            "on, so that who was held out cannot be told: give the training's data as it was, or "
            "leave --split out if it trained on none of these speakers (swar lineage OUTPUT "
            "--recording FOLDER tells which models saw the recordings of a folder)"
        )
    speech, _ = front_end(served)
    unseen = unseen_speakers(listing.speakers, speech)
    recordings = tuple(item for item in listing.recordings if item.speaker in unseen)
    return replace(listing, recordings=recordings, speakers=unseen)


def _score_set(
    name: str,
    listing: Listing,
    served: PublishedModel,
    settings: EvaluationSettings,
    console: Console,
) -> SetScores:
    by_speaker: dict[str, list[Recording]] = defaultdict(list)
    for recording in listing.recordings:
        by_speaker[recording.speaker].append(recording)
    _check_speakers(name, len(by_speaker))
    speech, window = front_end(served)
    rate = speech.sample_rate
    compared, identified = (
        [max(window, round(each * rate)) for each in seconds]
        for seconds in (settings.duration_seconds, (ENROLMENT_PIECE_SECONDS, QUERY_SECONDS))
    )
    condition_samples = min(
        compared, key=lambda each: (abs(each / rate - settings.condition_seconds), each)
    )
    cutter = Cutter(
        name,
        speech,
        sorted({*compared, *identified}),
        per_speaker=settings.utterances_per_speaker,
        seed=settings.seed,
    )
    embedded = embed(
        (
            under_conditions(
                cutter.cut(own), settings.conditions, condition_samples / rate, settings.seed
            )
            for own in by_speaker.values()
        ),
        served,
        console,
        title=f"{name}: speakers",
        total=len(by_speaker),
    )
    clean = _part(embedded, embedded.utterances["condition"] == CLEAN)
    _check_speakers(name, clean.utterances["speaker"].nunique())
    possible = {samples / rate: cutter.possible[samples] for samples in compared}
    scored = _compare(name, clean, possible, served, settings)
    conditions = _compare_under_conditions(
        name, embedded, condition_samples / rate, scored, served, settings
    )
    piece, query = (samples / rate for samples in identified)
    listed = [Unused(name, item.file, item.reason, item.detail) for item in listing.rejects]
    return SetScores(
        trials=[trials for trials, _ in scored],
        selections=[selection for _, selection in scored],
        conditions=conditions,
        nonspeech=[
            measure_nonspeech(
                served,
                _part(clean, clean.utterances["duration_seconds"] == condition_samples / rate),
                set_name=name,
                duration_seconds=condition_samples / rate,
                sample_rate=rate,
                max_pairs=settings.trials_per_class,
                seed=settings.seed,
            )
        ],
        identification=identify_each(
            clean.utterances,
            clean.embeddings,
            served.score,
            enrolment_seconds=settings.enrolment_seconds,
            piece_seconds=piece,
            query_seconds=query,
            resamples=settings.resamples,
            seed=settings.seed,
        ),
        rejected=listed + cutter.rejected,
        unusable=embedded.unusable,
    )


def _compare(
    name: str,
    embedded: EmbeddedUtterances,
    possible: Mapping[float, int],
    served: PublishedModel,
    settings: EvaluationSettings,
) -> list[tuple[pd.DataFrame, Selection]]:
    """Clean trials of every duration that `possible` names, of one set."""
    scored = []
    for seconds in sorted(possible):
        part = _part(embedded, embedded.utterances["duration_seconds"] == seconds)
        chosen = choose_trials(part.utterances, settings.trials_per_class, settings.seed)
        scored.append(
            score(
                part,
                chosen,
                served,
                set_name=name,
                duration_seconds=seconds,
                utterances_possible=possible[seconds],
            )
        )
    return scored


def _compare_under_conditions(
    name: str,
    embedded: EmbeddedUtterances,
    seconds: float,
    scored: Sequence[tuple[pd.DataFrame, Selection]],
    served: PublishedModel,
    settings: EvaluationSettings,
) -> list[ConditionTrials]:
    """The trials of one duration once more, under each condition; none where it has none."""
    (clean_trials,) = (
        trials for trials, selection in scored if selection.duration_seconds == seconds
    )
    if clean_trials.empty:
        return []
    return score_conditions(
        _part(embedded, embedded.utterances["duration_seconds"] == seconds),
        clean_trials,
        settings.conditions,
        served.score,
        set_name=name,
        duration_seconds=seconds,
    )


def _part(embedded: EmbeddedUtterances, is_wanted: pd.Series) -> EmbeddedUtterances:
    rows = np.flatnonzero(is_wanted)
    return EmbeddedUtterances(
        embedded.utterances.iloc[rows], embedded.embeddings[rows], embedded.unusable
    )


def _check_speakers(name: str, speakers: int) -> None:
    if speakers < 2:
        raise SwarError(
            f"{name}: {speakers} speaker(s) with enough speech, verification needs at least 2: "
            "add recordings"
        )


def front_end(served: PublishedModel) -> tuple[SpeechSettings, int]:
    """How the model removes silence, and samples of its window."""
    speech = card_settings(served.card, "speech", SpeechSettings, served.folder)
    spectrogram = card_settings(served.card, "spectrogram", SpectrogramSettings, served.folder)
    return speech, spectrogram.window_samples(speech.sample_rate)
