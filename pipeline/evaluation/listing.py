"""A published model judged on a list of trials between whole files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.audio import AudioError
from components.errors import SwarError
from components.model_files import card_settings, model_folder
from components.published_model import PublishedModel
from components.recordings.sources import Listing, Recording
from components.settings import ServingSettings
from components.terminal import Console
from components.verification.error_rates import NONTARGET, TARGET
from components.verification.judge import Judgement, JudgeSettings
from components.verification.trials import ChosenTrials, ListedTrial, compare, parse_trial_list
from components.verification.utterances import Cut, Unused, embed
from pipeline.evaluation.scoring import (
    ScoredEvaluation,
    SetScores,
    conclude,
    list_sets,
    name_sets,
    sets_trained_on,
    shown,
)
from pipeline.evaluation.speech import whole_file

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
    """Compares whole files as a list in VoxCeleb's text format says.

    Args:
        model: a version's folder, or the one of all versions.
        data: folder of speakers, or a manifest; the list's paths lie below it.
        trial_list: see `parse_trial_list`.
        settings: resamples and seed. Its bounds leave out nothing of the list; trials drop out
            only with a file that cannot be decoded, or that the model refuses: without speech,
            too short, or longer than its `serving.max_seconds`.
        console: shows the progress.
        follow_links: whether links in the data that lead out of it are followed.

    Raises:
        SwarError: the model, the data or a line of the list is at fault.
    """
    sets = name_sets([data])
    (name,) = sets
    try:
        text = trial_list.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SwarError(f"{trial_list} cannot be read as UTF-8 text: {error}") from error
    version = model_folder(model)
    listings = list_sets(sets, version, follow_links=follow_links)
    listed = parse_trial_list(text, str(trial_list))
    recordings = _recordings(listed, listings[name], str(trial_list))
    served = PublishedModel(version)
    rejected: list[Unused] = []
    wanted = list(recordings.values())
    batches = [
        wanted[start : start + FILES_AT_ONCE] for start in range(0, len(wanted), FILES_AT_ONCE)
    ]
    groups = (_decoded(name, batch, served, rejected) for batch in batches)
    with shown(console, f"{name}: files, {FILES_AT_ONCE} at a time", len(batches)) as track:
        embedded = embed(track(groups), served)
    chosen = _with_scores(listed, list(embedded.utterances["recording"]))
    trials, selection = compare(
        embedded.utterances,
        embedded.embeddings,
        chosen,
        served.score,
        set_name=name,
        duration_seconds=float("nan"),
        utterances_possible=len(recordings),
    )
    judgement = Judgement(trials, [selection], [], [], [], [], embedded)
    return conclude(
        served,
        sets,
        settings,
        [SetScores(judgement, rejected)],
        trial_list=str(trial_list.absolute()),
        trained_on=sets_trained_on(listings, served),
    )


def _recordings(
    listed: Sequence[ListedTrial], listing: Listing, source: str
) -> dict[str, Recording]:
    """Each file that the list names, by name.

    Raises:
        SwarError: the data has no such file, or the label contradicts the speakers.
    """
    known = {recording.recording: recording for recording in listing.recordings}
    rejects = {reject.file: reject.reason for reject in listing.rejects}
    named: dict[str, Recording] = {}
    for trial in listed:
        for file in (trial.enrolment, trial.test):
            if file not in known:
                why = f" ({rejects[file]})" if file in rejects else ""
                raise SwarError(f"{source} line {trial.line}: the data has no file {file!r}{why}")
            named[file] = known[file]
        speakers = known[trial.enrolment].speaker, known[trial.test].speaker
        if (speakers[0] == speakers[1]) != (trial.label == TARGET):
            raise SwarError(
                f"{source} line {trial.line}: the label {trial.label} contradicts the speakers "
                f"{speakers[0]!r} and {speakers[1]!r}: correct it"
            )
    return named


def _decoded(
    name: str, recordings: Sequence[Recording], served: PublishedModel, rejected: list[Unused]
) -> list[Cut]:
    """The recordings; those that cannot be decoded or are too long are added to `rejected`."""
    serving = card_settings(served.card, "serving", ServingSettings, served.folder)
    cuts = []
    for recording in recordings:
        try:
            cuts.append(whole_file(name, recording, served.sample_rate, serving.max_seconds))
        except AudioError as error:
            rejected.append(Unused(name, recording.recording, error.reason, str(error)))
    return cuts


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
