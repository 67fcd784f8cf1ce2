"""All files of a report on a run or on other recordings: page, plots and numbers."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import soundfile

from components.artifacts import REPORT_PAGE
from components.features import GENDER_PAIR
from components.settings import ReportSettings
from components.verification.judge import JudgeSettings
from components.verification.manifest_columns import Columns, with_columns
from components.verification.results import SCORES_FILE, Evaluation
from components.verification.slices import EVERYTHING
from components.verification.utterances import Cut, UtterancePlan, UtterancePosition
from components.verification_report import maps, page, plots, speaker_plots
from components.verification_report.data_card import piece_table
from components.verification_report.figures import (
    evaluation_figures,
    map_utterances,
    report_figures,
)
from components.verification_report.judging import ReportedJudgement, has_enough
from components.verification_report.pieces import (
    SpeechPiece,
    cut,
    positions_of,
    repeated_words,
)
from components.verification_report.plots import set_looks

CONDITIONS_FILE: Final = "conditions.parquet"
FIGURES_FILE: Final = "figures.json"
EMBEDDINGS_FILE: Final = "embeddings.parquet"
EMBEDDING: Final = "embedding"
_MOST_NAME_BYTES: Final = 240  # file names have at most 255
EVERYBODY: Final = "everybody"


def report_files(
    pieces: Sequence[SpeechPiece],
    rejects: Sequence[Mapping[str, Any]],
    card: Mapping[str, Any],
    judged: ReportedJudgement,
    blessed: bool,
    settings: ReportSettings,
    columns: Columns,
) -> dict[str, bytes]:
    """File contents of a report on a run, by name; the page is last and marks completeness.

    Args:
        pieces: of all splits.
        rejects: rows `file`, `reason`, `seconds`, `detail`.
        card: the model's.
        judged: every score.
        blessed: whether the Evaluator blessed the model.
        settings: resamples, bounds, seed.
        columns: the data's own columns.
    """
    table = with_columns(piece_table(pieces), columns)
    figures = report_figures(table, rejects, card, judged, blessed, settings)
    sounds = _sounds(pieces, judged, figures, settings) if settings.sound else {}
    return _files(judged, figures, sounds, settings)


def evaluation_files(
    judged: ReportedJudgement,
    evaluation: Evaluation,
    card: Mapping[str, Any],
    used: JudgeSettings,
) -> dict[str, bytes]:
    """File contents, by name, of a report on other recordings, without their sound.

    Args:
        judged: every score.
        evaluation: metrics of the scores, and what was left out.
        card: the model's.
        used: settings of the judgement.
    """
    settings = ReportSettings(resamples=used.resamples, seed=used.seed, sound=False)
    figures = evaluation_figures(judged, evaluation, card, used, settings)
    return _files(judged, figures, {}, settings)


def _files(
    judged: ReportedJudgement,
    figures: Mapping[str, Any],
    sounds: Mapping[str, bytes],
    settings: ReportSettings,
) -> dict[str, bytes]:
    drawn = draw(figures)
    content = json.dumps(figures, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return {
        SCORES_FILE: judged.trials.to_parquet(index=False),
        CONDITIONS_FILE: _condition_scores(judged).to_parquet(index=False),
        EMBEDDINGS_FILE: _embeddings(judged, settings).to_parquet(index=False),
        FIGURES_FILE: f"{content}\n".encode(),
        **{file_name(*each, place): each[1] for place, each in enumerate(drawn.items(), 1)},
        REPORT_PAGE: page.render(figures, drawn, sounds).encode(),
    }


def draw(figures: Mapping[str, Any]) -> dict[str, bytes]:
    """Plots, by name, of the figures that exist."""
    threshold = figures["model"]["threshold"]
    history, best_epoch = figures["history"], figures["model"]["best_epoch"]
    looks = set_looks(figures["sets"])
    drawn = {
        "durations": speaker_plots.error_rates(*_by_duration(figures), looks),
        "genders": speaker_plots.error_rates(*_by_gender(figures), looks),
        "distances": plots.distances(figures["histograms"], threshold, looks),
        "det": plots.det(figures["curves"], looks),
        "roc": plots.roc(figures["curves"], looks),
        "reliability": plots.reliability(figures["reliability"], looks),
    }
    if conditions := _rated_conditions(figures["conditions"]):
        drawn["conditions"] = plots.conditions(conditions, looks)
    distances = figures["speaker_distances"]
    highest = max(speaker_plots.highest(each) for each in distances.values())
    for name, each in distances.items():
        drawn[f"heatmap_{name}"] = speaker_plots.heatmap(each, threshold, highest)
    if history:
        drawn["distance_per_epoch"] = plots.epochs(history, best_epoch, threshold)
        drawn["error_per_epoch"] = plots.error_by_epoch(history, best_epoch)
    if figures["map"]:
        drawn["map_speakers"] = speaker_plots.map_by_speaker(figures["map"])
        drawn["map_genders"] = speaker_plots.map_by_gender(figures["map"], looks)
    return drawn


def file_name(plot: str, content: bytes, place: int) -> str:
    """Name of a plot's file; a number replaces a name that is too long for a file."""
    name = plot if len(plot.encode()) <= _MOST_NAME_BYTES else f"plot_{place}"
    return f"{name}.{plots.image_format(content)}"


def _rated_conditions(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Conditions of sets that have a rate under any of them: other axes would be empty."""
    rated = {row["set"] for row in rows if row["figures"]["eer"]["value"] is not None}
    return [row for row in rows if row["set"] in rated]


def _by_duration(figures: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    whole = [each for each in _rated(figures) if each["sliced_by"] == EVERYTHING]
    rows = [_row(each, f"{each['duration_seconds']:.3g} s") for each in whole]
    seconds = sorted({each["duration_seconds"] for each in whole})
    return rows, [f"{each:.3g} s" for each in seconds]


def _by_gender(figures: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    detail = figures["headline"]["duration_seconds"]
    rows = [
        _row(each, EVERYBODY if each["sliced_by"] == EVERYTHING else each["value"])
        for each in _rated(figures)
        if each["duration_seconds"] == detail and each["sliced_by"] in (EVERYTHING, GENDER_PAIR)
    ]
    return rows, [EVERYBODY, *sorted({row["place"] for row in rows} - {EVERYBODY})]


def _rated(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Slices with enough trials for a rate, and always the headline's."""
    head = figures["headline"]
    return [
        each
        for each in figures["slices"]
        if has_enough(each["similar"], each["dissimilar"]) or each.items() <= head.items()
    ]


def _row(part: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {"place": place, "set": part["set"], **part["figures"]["eer"]}


def _condition_scores(judged: ReportedJudgement) -> pd.DataFrame:
    """The trials under conditions and the same clean trials."""
    return pd.concat(
        [judged.trials.iloc[:0], *(each.trials for each in judged.conditions)], ignore_index=True
    )


def _embeddings(judged: ReportedJudgement, settings: ReportSettings) -> pd.DataFrame:
    """The utterances on the map, with their embeddings."""
    shown = map_utterances(judged, settings)
    return shown.assign(**{EMBEDDING: list(judged.embedded.embeddings[shown.index])})


def _sounds(
    pieces: Sequence[SpeechPiece],
    judged: ReportedJudgement,
    figures: Mapping[str, Any],
    settings: ReportSettings,
) -> dict[str, bytes]:
    """The utterances of the worst pairs as FLACs, by name."""
    pairs = [pair for kind in figures["worst"].values() for pair in kind]
    wanted = maps.utterances_of(pairs)
    (sample_rate,) = {piece.sample_rate for piece in pieces}
    samples = round(judged.detail_seconds * sample_rate)
    # All utterances of that duration, since the judge chose some of them.
    plan = UtterancePlan(
        judged.headline,
        [samples],
        sample_rate,
        per_speaker=sys.maxsize,
        seed=settings.seed,
    )
    own = [piece for piece in pieces if piece.split == judged.headline]
    own = repeated_words(own, min(plan.durations))
    positions: dict[SpeechPiece, list[UtterancePosition]] = {}
    for piece, found in positions_of(own, plan).items():
        names = [plan.utterance(piece.segment, each).utterance for each in found]
        needed = [each for each, name in zip(found, names, strict=True) if name in wanted]
        if needed:
            positions[piece] = needed
    return {
        each.utterance.utterance: _flac(each) for batch in cut(positions, plan) for each in batch
    }


def _flac(sound: Cut) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound.pcm16, sound.sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
