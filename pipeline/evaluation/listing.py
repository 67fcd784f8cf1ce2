"""A published model judged on a list of trials between whole files."""

import posixpath
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.errors import SwarError
from components.model.files import model_folder
from components.model.published import PublishedModel
from components.recordings.files import read_text
from components.recordings.sources import Listing, Recording
from components.terminal import Console
from components.verification.error_rates import NONTARGET, TARGET
from components.verification.judge import Judgement, JudgeSettings
from components.verification.manifest_columns import with_columns
from components.verification.trials import ChosenTrials, ListedTrial, compare, parse_trial_list
from components.verification.utterances import EmbeddedUtterances, Unused, embed
from pipeline.evaluation.scoring import (
    ScoredEvaluation,
    SetScores,
    conclude,
    list_sets,
    name_sets,
    remarked,
    sets_calibrated_on,
    sets_trained_on,
    shown,
)
from pipeline.evaluation.speech import whole_files

FILES_AT_ONCE = 32


def evaluate_list(
    model: str | Path,
    data: str,
    trial_list: Path,
    settings: JudgeSettings,
    console: Console,
    *,
    follow_links: bool = False,
) -> ScoredEvaluation:
    """Compares whole files by a list of trials in VoxCeleb's text format.

    Args:
        model: a version's folder, or the folder of all versions.
        data: folder of speakers, or a manifest; the list's paths lie below it.
        trial_list: see `parse_trial_list`.
        settings: resamples and seed; its bounds are not applied. A trial drops out only if one of
            its files is missing, cannot be decoded, or is refused by the model: without speech,
            too short, or longer than its `serving.max_seconds`. Repeated trials are left out.
        console: shows the progress.
        follow_links: whether links in the data that lead out of it are followed.

    Raises:
        SwarError: the model, the data or a line of the list is at fault.
    """
    sets = name_sets([data])
    (name,) = sets
    text = read_text(str(trial_list))
    version = model_folder(model)
    listings = list_sets(sets, version, console, follow_links=follow_links)
    parsed = parse_trial_list(text, str(trial_list))
    listed = _listed(parsed, name, listings[name], str(trial_list))
    if listed.repeated:
        remarked(
            console, f"{trial_list}: {listed.repeated:,} of its trials are there again: left out"
        )
    served = PublishedModel(version)
    possible = len(listed.recordings) + len(listed.missing)
    embedded = _embedded(name, listed, served, console)
    columns = {each.recording: each.columns for each in listings[name].recordings}
    embedded = embedded._replace(utterances=with_columns(embedded.utterances, columns))
    chosen = _with_scores(listed.trials, list(embedded.utterances["recording"]))
    trials, selection = compare(
        embedded.utterances,
        embedded.embeddings,
        chosen,
        served.score,
        set_name=name,
        duration_seconds=float("nan"),
        utterances_possible=possible,
    )
    judgement = Judgement(trials, [selection], [], [], [], [], embedded)
    return conclude(
        served,
        sets,
        settings,
        [SetScores(judgement, listed.missing)],
        trial_list=str(trial_list.absolute()),
        trained_on=sets_trained_on(listings, served),
        calibrated_on=sets_calibrated_on(listings, served),
    )


class _ListedTrials(NamedTuple):
    """The trials of a list, and a set's recordings in them."""

    trials: list[ListedTrial]
    """Each trial once, with its recordings' names in the set."""
    recordings: dict[str, Recording]
    """Recordings of the trials with both sides in the set, by that name."""
    missing: list[Unused]
    """Files that are not in the set, or are rejects of it."""
    repeated: int
    """Trials that the list repeats, perhaps with swapped sides."""


class _RecordingNames:
    """The recordings of a set by the names that a list may give them.

    These are a recording's name or path, with or without `./`, and with accents composed or
    decomposed.
    """

    def __init__(self, listing: Listing) -> None:
        self._recordings: dict[str, Recording] = {}
        for recording in listing.recordings:
            self._recordings.setdefault(_spelling(recording.recording), recording)
        for recording in listing.recordings:
            if recording.start_seconds is recording.end_seconds is None:  # else one of several cuts
                self._recordings.setdefault(_spelling(recording.path), recording)
        self._rejects = {_spelling(reject.file): reject.reason for reject in listing.rejects}

    def find(self, name: str) -> Recording | None:
        """The recording of a name; None if there is none."""
        return self._recordings.get(_spelling(name))

    def reason(self, name: str) -> str:
        """Why there is no recording of a name."""
        return self._rejects.get(_spelling(name), "missing")


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _listed(
    parsed: Sequence[ListedTrial], set_name: str, listing: Listing, source: str
) -> _ListedTrials:
    """Finds the recordings that the list names.

    Raises:
        SwarError: the data has both files of no trial, or a line's label contradicts the
            speakers, or a line compares a file with itself.
    """
    names = _RecordingNames(listing)
    trials: dict[frozenset[str], ListedTrial] = {}
    recordings: dict[str, Recording] = {}
    missing: dict[str, Unused] = {}
    for trial in parsed:
        found = names.find(trial.enrolment), names.find(trial.test)
        for file, recording in zip((trial.enrolment, trial.test), found, strict=True):
            if recording is None:
                detail = f"{source} line {trial.line} names it"
                missing.setdefault(file, Unused(set_name, file, names.reason(file), detail))
        one, other = found
        if one is not None and other is not None:
            _check_label(trial, one, other, source)
            recordings |= {one.recording: one, other.recording: other}
            trial = trial._replace(enrolment=one.recording, test=other.recording)
        trials.setdefault(frozenset((trial.enrolment, trial.test)), trial)
    if not recordings:
        first = next(iter(missing.values()))
        raise SwarError(
            f"the data has both files of none of the trials of {source}, such as {first.name!r} "
            f"({first.reason}): write paths below it, or absolute ones"
        )
    repeated = len(parsed) - len(trials)
    return _ListedTrials(list(trials.values()), recordings, list(missing.values()), repeated)


def _check_label(trial: ListedTrial, one: Recording, other: Recording, source: str) -> None:
    """Raises SwarError if the speakers contradict the label, or both recordings are one."""
    where = f"{source} line {trial.line}"
    if one is other:
        raise SwarError(f"{where}: compares {trial.test!r} with itself: remove the line")
    if (one.speaker == other.speaker) != (trial.label == TARGET):
        raise SwarError(
            f"{where}: the label {trial.label} contradicts the speakers {one.speaker!r} and "
            f"{other.speaker!r}: correct it"
        )


def _embedded(
    name: str, listed: _ListedTrials, served: PublishedModel, console: Console
) -> EmbeddedUtterances:
    """Embeds the files; those that cannot be decoded are added to `listed.missing`."""
    wanted = list(listed.recordings.values())
    batches = [
        wanted[start : start + FILES_AT_ONCE] for start in range(0, len(wanted), FILES_AT_ONCE)
    ]
    groups = (
        [cut for _, cut in whole_files(name, batch, served, listed.missing)] for batch in batches
    )
    with shown(console, f"{name}: files, {FILES_AT_ONCE} at a time", len(batches)) as track:
        return embed(track(groups), served)


def _with_scores(listed: Sequence[ListedTrial], embedded: Sequence[str]) -> ChosenTrials:
    """The listed trials of which both files have an embedding, in the list's order."""
    row = {recording: at for at, recording in enumerate(embedded)}
    usable = [trial for trial in listed if trial.enrolment in row and trial.test in row]
    labels = [trial.label for trial in listed]
    return ChosenTrials(
        first=np.array([row[trial.enrolment] for trial in usable], np.int64),
        second=np.array([row[trial.test] for trial in usable], np.int64),
        label=np.array([trial.label for trial in usable], np.int64),
        target_possible=labels.count(TARGET),
        nontarget_possible=labels.count(NONTARGET),
    )
