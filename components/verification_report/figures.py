"""Every number of the report: `figures.json`, from which the page and its plots are made."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pandas as pd

from components.conditions import CLEAN
from components.json_text import without_nan
from components.settings import ReportSettings
from components.verification import error_rates
from components.verification.error_rates import ALL_NONTARGETS, EXPECTED_RATES, NEAREST_NONTARGETS
from components.verification.judge import JudgedMetrics, JudgeSettings
from components.verification.operating_points import error_rates_at
from components.verification.results import Evaluation
from components.verification.searches import BEST_MATCH
from components.verification.slices import EVERYTHING
from components.verification.trials import ONE_SIDE
from components.verification.utterances import Unused
from components.verification_report import article, curves, data_card, maps
from components.verification_report.judging import (
    ReportedJudgement,
    detail_trials,
    has_both_classes,
    has_enough,
)

OF: Final = 100
CARD_ENTRIES: Final = (
    "model_digest", "config_digest", "data_digest", "code_digest", "sample_rate", "embedding_size",
    "threshold", "slope", "best_epoch",
)  # fmt: skip
TRAINER_ENTRIES: Final = ("blocks", "head", "loss", "weights", "epochs", "learning_rate")
CALIBRATED_ON: Final = ("speakers", "similar", "dissimilar", "seconds", "nearest_false_accept_rate")
OPERATING_POINT_ENTRIES: Final = ("max_false_accept_rate", "threshold", "speakers_needed")
NO_RATE: Final = {"value": None, "low": None, "high": None}
WITHIN, WORSE, BETTER = "kept", "worse", "better"


def report_figures(
    pieces: pd.DataFrame,
    rejects: Sequence[Mapping[str, Any]],
    card: Mapping[str, Any],
    judged: ReportedJudgement,
    blessed: bool,
    settings: ReportSettings,
) -> dict[str, Any]:
    """All numbers of a report on a run, ready for JSON, with None for NaN.

    Args:
        pieces: a `piece_table` of every split.
        rejects: rows `file`, `reason`, `seconds`, `detail`.
        card: the model's.
        judged: every score.
        blessed: whether the Evaluator blessed the model.
        settings: resamples, bounds, seed.
    """
    data = data_card.data_card(pieces, rejects)
    measured = JudgedMetrics.of(judged, resamples=settings.resamples, seed=settings.seed)
    common = _judged_figures(judged, measured, data, card, settings)
    history = list(card.get("history") or [])
    best = next((row for row in history if row.get("epoch") == card.get("best_epoch")), None)
    trained_on = sum(row["role"] == data_card.TRAINED_ON for row in data["by_speaker"])
    comparison = None
    compared = _compared_seconds(common["slices"], judged.detail_seconds)
    if settings.article:
        comparison = article.comparison(_whole(common["slices"], compared), best, trained_on)
    of_training: dict[str, Any] = {
        "blessed": blessed,
        "checks": data_card.leakage_checks(pieces),
        "genders_not_judged": data_card.genders_not_judged(data, judged.headline),
        "history": history,
        "compared_seconds": compared,
        "comparison": comparison,
        "trained_speakers": trained_on,
        "attacks": [],
        "calibrated_on": [],
        "settings": settings.model_dump(mode="json"),
    }
    figures: dict[str, Any] = without_nan(common | of_training)
    return figures


def evaluation_figures(
    judged: ReportedJudgement,
    evaluation: Evaluation,
    card: Mapping[str, Any],
    used: JudgeSettings,
    settings: ReportSettings,
) -> dict[str, Any]:
    """All numbers of a report on other recordings; those known only to a training run are None.

    Args:
        judged: every score.
        evaluation: metrics of the scores, and what was left out.
        card: the model's.
        used: settings of the judgement.
        settings: what the report shows.
    """
    data = data_card.evaluation_card(
        judged.embedded.utterances, evaluation.rejected_recordings, evaluation.repeated_recordings
    )
    of_training = dict.fromkeys(
        ("blessed", "history", "compared_seconds", "comparison", "trained_speakers")
    )
    of_evaluation = {
        "checks": [],
        "genders_not_judged": [],
        "settings": asdict(used),
        "attacks": [asdict(each) for each in evaluation.attacks],
        "calibrated_on": list(evaluation.calibrated_on),
    }
    measured = JudgedMetrics(list(evaluation.slices), list(evaluation.conditions))
    figures: dict[str, Any] = without_nan(
        _judged_figures(judged, measured, data, card, settings) | of_training | of_evaluation
    )
    return figures


def _judged_figures(
    judged: ReportedJudgement,
    measured: JudgedMetrics,
    data: Mapping[str, Any],
    card: Mapping[str, Any],
    settings: ReportSettings,
) -> dict[str, Any]:
    """Numbers from the scores and the model's card, which every report has."""
    numbers = {row["speaker"]: row["number"] for row in data["by_speaker"]}
    slices = [asdict(each) for each in measured.slices]
    return {
        "sets": [each._asdict() for each in judged.sets],
        "headline": _headline(slices, judged),
        "slices": slices,
        "selections": [asdict(each) for each in judged.selections],
        "identification": [asdict(each) for each in judged.identification],
        "open_set": [asdict(each) for each in judged.open_set],
        "conditions": [asdict(each) for each in measured.conditions],
        "nonspeech": [asdict(each) for each in judged.nonspeech],
        "unusable": _unusable(judged.embedded.unusable),
        **_details(judged, numbers, settings),
        "data": data,
        "model": _model(card),
        "calibration": _calibration(card, judged.detail_seconds),
        "operating_points": _operating_points(card, judged, settings),
        "highlights": _highlights(judged, measured),
        "promises": _expected_rates(_expected(card, judged.detail_seconds), slices, judged),
    }


def _whole(slices: Iterable[Mapping[str, Any]], seconds: float) -> list[Mapping[str, Any]]:
    """Whole splits at one duration."""
    return [
        each
        for each in slices
        if each["sliced_by"] == EVERYTHING and each["duration_seconds"] == seconds
    ]


def _compared_seconds(slices: Sequence[Mapping[str, Any]], detail: float) -> float:
    """The duration nearest to the article's at which every split has enough trials."""
    whole = [each for each in slices if each["sliced_by"] == EVERYTHING]
    names = {each["set"] for each in whole}
    fitting = [
        seconds
        for seconds in sorted({each["duration_seconds"] for each in whole})
        if {
            each["set"]
            for each in _whole(slices, seconds)
            if has_enough(each["similar"], each["dissimilar"])
        }
        == names
    ]
    return min(fitting, key=lambda each: abs(each - article.SECONDS), default=detail)


def _headline(slices: Iterable[Mapping[str, Any]], judged: ReportedJudgement) -> dict[str, Any]:
    (part,) = (
        each for each in _whole(slices, judged.detail_seconds) if each["set"] == judged.headline
    )
    wrong = {
        name: round(OF * part["figures"][name]["value"])
        for name in (error_rates.FALSE_ACCEPT_RATE, error_rates.FALSE_REJECT_RATE)
    }
    (selection,) = (
        each
        for each in judged.selections
        if (each.set, each.duration_seconds) == (judged.headline, judged.detail_seconds)
    )
    return {
        **part,
        "of_100": wrong,
        "similar_within_recording": selection.similar_within_recording,
    }


def _details(
    judged: ReportedJudgement, numbers: Mapping[str, int], settings: ReportSettings
) -> dict[str, Any]:
    """Numbers of the plots, for every split that has trials of both classes."""
    trials = {each.set: detail_trials(judged, each.set) for each in judged.sets}
    trials = {name: found for name, found in trials.items() if has_both_classes(found)}
    highest = max(float(found["distance"].max()) for found in trials.values())
    seeded = settings.resamples, settings.seed
    return {
        "curves": {name: curves.error_curve(found, *seeded) for name, found in trials.items()},
        "histograms": {name: curves.histogram(found, highest) for name, found in trials.items()},
        "reliability": {name: curves.reliability(found, *seeded) for name, found in trials.items()},
        "speaker_distances": {
            name: maps.speaker_distances(found, numbers) for name, found in trials.items()
        },
        "map": _map(judged, numbers, settings),
        "worst": maps.worst_pairs(trials[judged.headline], settings.worst_pairs),
    }


def map_utterances(judged: ReportedJudgement, settings: ReportSettings) -> pd.DataFrame:
    """The utterances on the map; the index gives their embeddings."""
    utterances = judged.embedded.utterances.reset_index(drop=True)
    same_duration = utterances[utterances["duration_seconds"] == judged.detail_seconds]
    return maps.choose_for_map(same_duration, settings.map_utterances)


def _map(
    judged: ReportedJudgement, numbers: Mapping[str, int], settings: ReportSettings
) -> list[dict[str, Any]]:
    shown = map_utterances(judged, settings)
    if len(shown) < maps.FEWEST_ON_A_MAP:
        return []
    places = maps.embedding_map(judged.embedded.embeddings[shown.index], settings.seed)
    return [
        {
            "x": float(x),
            "y": float(y),
            "set": row.set,
            "number": numbers[row.speaker],
            "gender": row.gender,
            "utterance": row.utterance,
        }
        for (x, y), row in zip(places.astype(np.float64), shown.itertuples(), strict=True)
    ]


def _operating_points(
    card: Mapping[str, Any], judged: ReportedJudgement, settings: ReportSettings
) -> list[dict[str, Any]]:
    """The card's points, with the rates of the headline's trials at each threshold."""
    points = (card.get("calibration") or {}).get("operating_points") or []
    trials = detail_trials(judged, judged.headline)
    known = [point for point in points if point["threshold"] is not None]
    rates = error_rates_at(
        trials,
        [point["threshold"] for point in known],
        resamples=settings.resamples,
        seed=settings.seed,
    )
    measured = {
        point["max_false_accept_rate"]: [asdict(rate) for rate in pair]
        for point, pair in zip(known, rates, strict=True)
    }
    rows = []
    for point in points:
        false_accept, false_reject = measured.get(
            point["max_false_accept_rate"], (NO_RATE, NO_RATE)
        )
        rows.append(
            {
                **{name: point.get(name) for name in OPERATING_POINT_ENTRIES},
                error_rates.FALSE_ACCEPT_RATE: false_accept,
                error_rates.FALSE_REJECT_RATE: false_reject,
            }
        )
    return rows


def _highlights(judged: ReportedJudgement, measured: JudgedMetrics) -> dict[str, int | None]:
    """Indices in `conditions` and `open_set` of the summary's rows; None where there is none.

    They are of the headline's set: the condition on one side, with enough trials, that has the
    highest equal error rate; and the largest gallery, with the most enrolment.
    """
    eer = {
        place: each.figures[error_rates.EER].value
        for place, each in enumerate(measured.conditions)
        if each.set == judged.headline
        and each.changed_sides == ONE_SIDE
        and has_enough(each.similar, each.dissimilar)
    }
    galleries = {
        place: (each.gallery_speakers, each.enrolment_seconds)
        for place, each in enumerate(judged.open_set)
        if each.set == judged.headline and each.reference != BEST_MATCH
    }
    return {
        "worst_condition": max(eer, key=lambda place: eer[place], default=None),
        "open_set": max(galleries, key=lambda place: galleries[place], default=None),
    }


def _unusable(unused: Iterable[Unused]) -> list[dict[str, Any]]:
    counts = Counter((each.set, each.reason) for each in unused if each.condition == CLEAN)
    return [
        {"set": name, "reason": reason, "count": count}
        for (name, reason), count in sorted(counts.items())
    ]


def _model(card: Mapping[str, Any]) -> dict[str, Any]:
    trainer = card.get("trainer") or {}
    return {
        **{name: card.get(name) for name in CARD_ENTRIES},
        **{name: trainer.get(name) for name in TRAINER_ENTRIES},
        "window_seconds": (card.get("spectrogram") or {}).get("window_seconds"),
        "max_seconds": (card.get("serving") or {}).get("max_seconds"),
    }


def _expected(card: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
    """The rates that the calibration expects for the nearest length; empty where there are none.

    They are of nontarget trials of all pairs of speakers, as here; the threshold is learnt from
    near ones.
    """
    calibration = card.get("calibration")
    if not calibration:
        return {}
    among_all, nearest = (
        min(calibration[name], key=lambda one: abs(one["seconds"] - seconds))
        for name in (ALL_NONTARGETS, NEAREST_NONTARGETS)
    )
    return {
        "speakers": calibration["speakers"],
        "nearest_false_accept_rate": nearest[error_rates.FALSE_ACCEPT_RATE]["value"],
        **among_all,
    }


def _calibration(card: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
    """The data of the calibration; None where the model's card lacks it."""
    expected = _expected(card, seconds)
    return {name: expected.get(name) for name in CALIBRATED_ON} if expected else None


def _expected_rates(
    calibration: Mapping[str, Any], slices: Sequence[Mapping[str, Any]], judged: ReportedJudgement
) -> list[dict[str, Any]]:
    """The calibration's expected rates at the stored threshold, beside the measured ones."""
    measured = _headline(slices, judged)["figures"]
    expected_rates = {name: calibration.get(name, NO_RATE) for name in EXPECTED_RATES}
    return [
        {
            "figure": name,
            "promised": expected,
            "measured": measured[name],
            "kept": _place(expected["value"], measured[name]),
        }
        for name, expected in expected_rates.items()
    ]


def _place(expected: float | None, measured: Mapping[str, float]) -> str | None:
    """Compares the measured interval with the expected rate; None where either is missing."""
    if expected is None or np.isnan(measured["low"]):
        return None
    if expected < measured["low"]:
        return WORSE
    return BETTER if expected > measured["high"] else WITHIN
