"""All files of a report: the page, its plots, and what they were made from."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import soundfile

from components.artifacts import REPORT_PAGE
from components.features import GENDER_PAIR
from components.settings import ReportSettings
from components.verification.results import SCORES_FILE
from components.verification.slices import EVERYTHING
from components.verification.utterances import Cut
from components.verification_report import condition_plots, maps, page, plots, speaker_plots
from components.verification_report.data_card import piece_table
from components.verification_report.figures import map_utterances, report_figures
from components.verification_report.judging import Judged, has_enough
from components.verification_report.pieces import Piece, Place, cut, utterance_at

CONDITIONS_FILE: Final = "conditions.parquet"
FIGURES_FILE: Final = "figures.json"
EMBEDDINGS_FILE: Final = "embeddings.parquet"
EMBEDDING: Final = "embedding"
EVERYBODY: Final = "everybody"


def report_files(
    pieces: Sequence[Piece],
    rejects: Sequence[Mapping[str, Any]],
    card: Mapping[str, Any],
    judged: Judged,
    blessed: bool,
    settings: ReportSettings,
) -> dict[str, bytes]:
    """Contents by name, the page last: where it is, the report is complete.

    Args:
        pieces: of all splits.
        rejects: rows `file`, `reason`, `seconds`, `detail`.
        card: what the model says about itself.
        judged: every score.
        blessed: whether the Evaluator blessed the model.
        settings: resamples, bounds, seed.
    """
    figures = report_figures(piece_table(pieces), rejects, card, judged, blessed, settings)
    drawn = draw(figures)
    sounds = _sounds(pieces, judged, figures) if settings.sound else {}
    told = json.dumps(figures, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return {
        SCORES_FILE: judged.trials.to_parquet(index=False),
        CONDITIONS_FILE: _condition_scores(judged).to_parquet(index=False),
        EMBEDDINGS_FILE: _embeddings(judged, settings).to_parquet(index=False),
        FIGURES_FILE: f"{told}\n".encode(),
        **{f"{name}.png": content for name, content in drawn.items()},
        REPORT_PAGE: page.render(figures, drawn, sounds).encode(),
    }


def draw(figures: Mapping[str, Any]) -> dict[str, bytes]:
    """PNGs by name, of what there is."""
    threshold = figures["model"]["threshold"]
    history, best_epoch = figures["history"], figures["model"]["best_epoch"]
    drawn = {
        "durations": speaker_plots.error_rates(*_by_duration(figures)),
        "genders": speaker_plots.error_rates(*_by_gender(figures)),
        "distances": plots.distances(figures["histograms"], threshold),
        "det": plots.det(figures["curves"]),
        "roc": plots.roc(figures["curves"]),
        "reliability": plots.reliability(figures["reliability"]),
    }
    if figures["conditions"]:
        drawn["conditions"] = condition_plots.error_rates(figures["conditions"])
    distances = figures["speaker_distances"]
    highest = max(speaker_plots.highest(each) for each in distances.values())
    for name, each in distances.items():
        drawn[f"heatmap_{name}"] = speaker_plots.heatmap(each, threshold, highest)
    if history:
        drawn["distance_per_epoch"] = plots.epochs(history, best_epoch, threshold)
        drawn["error_per_epoch"] = plots.error_by_epoch(history, best_epoch)
    if figures["map"]:
        drawn["map_speakers"] = speaker_plots.map_by_speaker(figures["map"])
        drawn["map_genders"] = speaker_plots.map_by_gender(figures["map"])
    return drawn


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
    """Slices with enough trials for a rate; the headline's, whatever it has."""
    head = figures["headline"]
    return [
        each
        for each in figures["slices"]
        if has_enough(each["similar"], each["dissimilar"]) or each.items() <= head.items()
    ]


def _row(part: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {"place": place, "set": part["set"], **part["figures"]["eer"]}


def _condition_scores(judged: Judged) -> pd.DataFrame:
    """The trials under conditions, and the same without."""
    return pd.concat(
        [judged.trials.iloc[:0], *(each.trials for each in judged.conditions)], ignore_index=True
    )


def _embeddings(judged: Judged, settings: ReportSettings) -> pd.DataFrame:
    """The utterances on the map, with what the model made of them."""
    shown = map_utterances(judged, settings)
    return shown.assign(**{EMBEDDING: list(judged.embedded.embeddings[shown.index])})


def _sounds(
    pieces: Sequence[Piece], judged: Judged, figures: Mapping[str, Any]
) -> dict[str, bytes]:
    """The utterances of the worst pairs as FLACs, by name."""
    pairs = [pair for kind in figures["worst"].values() for pair in kind]
    wanted = maps.utterances_of(pairs)
    places: dict[Piece, list[Place]] = {}
    for piece in pieces:
        if piece.split != judged.headline:
            continue
        samples = round(judged.detail_seconds * piece.sample_rate)
        for offset in range(0, piece.samples - samples + 1, samples):
            place = Place(offset, samples)
            if utterance_at(piece, place).utterance in wanted:
                places.setdefault(piece, []).append(place)
    return {each.utterance.utterance: _flac(each) for batch in cut(places) for each in batch}


def _flac(sound: Cut) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound.pcm16, sound.sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
