"""What all evaluations share: the sets, the progress, and the final measurement."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from rich.markup import escape
from rich.progress import Progress

from components.conditions import CLEAN
from components.errors import SwarError
from components.model.files import read_card
from components.model.published import PublishedModel
from components.recordings.sources import Listing, Recording, data_digest, list_recordings
from components.recordings.spans import is_pattern
from components.terminal import Console
from components.verification.attacks import CLAIM_COLUMNS, measure_claims
from components.verification.judge import JudgedMetrics, Judgement, JudgeSettings
from components.verification.manifest_columns import synthetic_speakers
from components.verification.results import Evaluation
from components.verification.utterances import Unused

T = TypeVar("T")
CARD_ENTRIES = ("model_digest", "threshold", "sample_rate")


class SetScores(NamedTuple):
    """The scores of one set."""

    judgement: Judgement
    rejected: list[Unused]
    repeated: int = 0
    """Recordings with less speech than a window, repeated to one window."""


class ScoredEvaluation(NamedTuple):
    """What was measured, and the scores that it was measured on."""

    evaluation: Evaluation
    judgement: Judgement
    card: dict[str, Any]
    """The model's card."""
    only_unseen: bool
    """Whether it is certain that the model was trained on none of the speakers."""
    claims: pd.DataFrame
    """CLAIM_COLUMNS; empty where no attacks were tried."""

    def knows_speakers(self, name: str) -> bool | None:
        """Whether the model was trained on a set's speakers; None where that is not known."""
        if self.only_unseen:
            return False
        return True if name in self.evaluation.trained_on else None

    @property
    def trials(self) -> pd.DataFrame:
        """All trials, clean and under conditions, see `trial_table`."""
        conditions = [each.trials for each in self.judgement.conditions if each.condition != CLEAN]
        return pd.concat([self.judgement.trials, *conditions], ignore_index=True)


def name_sets(data: Sequence[str]) -> dict[str, str]:
    """Folders and manifests by their paths' last parts, without a manifest's extension.

    Raises:
        SwarError: two have the same name.
    """
    sets: dict[str, str] = {}
    for path in data:
        whole = path.rstrip("/") if "://" in path else os.path.abspath(path)
        name, extension = os.path.splitext(os.path.basename(whole))
        name = name if extension.lower() in (".csv", ".tsv") else name + extension
        if name in sets:
            raise SwarError(f"two sets are called {name!r}: rename one of the folders")
        sets[name] = whole
    return sets


def list_sets(
    sets: Mapping[str, str], version: Path, console: Console, *, follow_links: bool
) -> dict[str, Listing]:
    """Lists each set, and a pattern with as many spans as in the training.

    With other spans, data that the model was trained on would not be recognised.

    Args:
        sets: folder, manifest or pattern of each.
        version: the model's folder.
        console: shows remarks about the sets.
        follow_links: whether links out of a set are followed; always if the training did.

    Raises:
        SwarError: the data, or the model's card, is at fault.
    """
    speech = read_card(version).get("speech", {})
    rolling_spans = speech.get("rolling_spans")
    listings = {
        name: list_recordings(
            folder,
            rolling_spans if is_pattern(folder) else None,
            follow_outside_links=follow_links or speech.get("follow_outside_links", False),
        )
        for name, folder in sets.items()
    }
    for name, listing in listings.items():
        for remark in listing.remarks:
            remarked(console, f"{name}: {remark}")
    return listings


def by_speaker(listing: Listing) -> dict[str, list[Recording]]:
    """The recordings of each speaker, in the listing's order."""
    found: dict[str, list[Recording]] = defaultdict(list)
    for recording in listing.recordings:
        found[recording.speaker].append(recording)
    return dict(found)


def remarked(console: Console, remark: str) -> None:
    """Shows a line about the input."""
    console.print(remark, markup=False, highlight=False, soft_wrap=True)


def sets_trained_on(listings: Mapping[str, Listing], served: PublishedModel) -> tuple[str, ...]:
    """The sets that are the whole and unchanged data that the model was trained on."""
    trained_on = served.card.get("data_digest")
    return tuple(name for name, listing in listings.items() if data_digest(listing) == trained_on)


def sets_calibrated_on(listings: Mapping[str, Listing], served: PublishedModel) -> tuple[str, ...]:
    """The sets that are the whole and unchanged data that `swar calibrate` used."""
    digest = (served.card.get("calibrated_on") or {}).get("data_digest")
    return tuple(name for name, listing in listings.items() if data_digest(listing) == digest)


@contextlib.contextmanager
def shown(
    console: Console, title: str, total: int
) -> Iterator[Callable[[Iterable[T]], Iterable[T]]]:
    """Shows how many groups of a set are done, if the console is a terminal.

    Args:
        console: where to show it.
        title: what the groups are.
        total: number of groups.
    """
    with Progress(console=console, disable=not console.is_terminal) as progress:
        yield lambda groups: progress.track(groups, total=total, description=escape(title))


def conclude(
    served: PublishedModel,
    sets: dict[str, str],
    settings: JudgeSettings,
    scores: Sequence[SetScores],
    *,
    trial_list: str | None = None,
    trained_on: tuple[str, ...] = (),
    calibrated_on: tuple[str, ...] = (),
    only_unseen: bool = False,
    claims: tuple[pd.DataFrame, Sequence[Unused]] | None = None,
) -> ScoredEvaluation:
    """Measures the trials of all sets.

    Args:
        served: the model.
        sets: folder of each.
        settings: resamples and seed.
        scores: of each set.
        trial_list: the file of the trials, if there is one.
        trained_on: sets that the model was trained on.
        calibrated_on: sets that its thresholds were set on.
        only_unseen: whether the speakers of the training are left out.
        claims: the result of `score_attacks`, if attacks were tried.

    Raises:
        SwarError: there is no trial.
    """
    judgement = Judgement.of([each.judgement for each in scores])
    if judgement.trials.empty:
        raise SwarError(
            f"no two utterances to compare in {', '.join(sets)}: add recordings, or choose "
            "a shorter --duration"
        )
    measured = JudgedMetrics.of(judgement, resamples=settings.resamples, seed=settings.seed)
    claimed, unused_claims = claims or (pd.DataFrame(columns=list(CLAIM_COLUMNS)), [])
    rejected = [each for part in scores for each in part.rejected]
    evaluation = Evaluation(
        model={"folder": str(served.folder), **{name: served.card[name] for name in CARD_ENTRIES}},
        data=sets,
        trial_list=trial_list,
        trained_on=() if only_unseen else trained_on,
        calibrated_on=calibrated_on,
        synthetic_speakers=synthetic_speakers(judgement.embedded.utterances),
        settings=asdict(settings),
        selections=tuple(judgement.selections),
        # With attacks, a speaker's own recording that cannot be decoded is rejected twice.
        rejected_recordings=tuple(dict.fromkeys((*rejected, *unused_claims))),
        repeated_recordings=sum(part.repeated for part in scores),
        unusable_utterances=tuple(judgement.embedded.unusable),
        slices=tuple(measured.slices),
        conditions=tuple(measured.conditions),
        nonspeech=tuple(judgement.nonspeech),
        identification=tuple(judgement.identification),
        open_set=tuple(judgement.open_set),
        attacks=tuple(measure_claims(claimed, resamples=settings.resamples, seed=settings.seed)),
    )
    return ScoredEvaluation(evaluation, judgement, served.card, only_unseen, claimed)
