"""Plots are the same bytes again, say nothing of when and by what, and bear extremes."""

import struct
import warnings
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from components.verification_report import curves, plots, report, speaker_plots

LOOKS = plots.set_looks([{"set": "eval", "title": "people it trained on"}])


def _chunks(png):
    at, kinds = 8, []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kinds.append(png[at + 4 : at + 8])
        at += 12 + length
    return kinds


def test_pngs_hold_no_text_and_no_time(made):
    pngs = [content for name, content in made.files.items() if name.endswith(".png")]
    assert len(pngs) > 10
    for content in pngs:
        assert content.startswith(b"\x89PNG")
        assert {b"tEXt", b"iTXt", b"zTXt", b"tIME"}.isdisjoint(_chunks(content))


def _trials(distance_similar, distance_dissimilar):
    label = np.repeat([1, 0], [len(distance_similar), len(distance_dissimilar)])
    distance = np.concatenate([distance_similar, distance_dissimilar]).astype(np.float32)
    speakers = np.arange(len(label)) % 4
    return pd.DataFrame(
        {
            "label": label,
            "distance": distance,
            "probability": 1.0 / (1.0 + np.exp(9.0 * (distance - 1.0))),
            "same_speaker": distance <= 1.0,
            "speaker_a": speakers.astype(str),
            "speaker_b": np.where(label == 1, speakers, (speakers + 1) % 4).astype(str),
        }
    )


@pytest.mark.parametrize(
    "trials",
    [
        _trials(np.linspace(0.1, 0.2, 8), np.linspace(1.5, 1.9, 8)),
        _trials(np.linspace(1.5, 1.9, 8), np.linspace(0.1, 0.2, 8)),
        _trials([0.5], [0.5]),
    ],
    ids=["no error", "all wrong", "one of each"],
)
def test_extreme_scores_are_drawn_without_a_warning(trials):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = curves.error_curve(trials, 20, 0)
        figures = curves.reliability(trials, 20, 0)
        assert plots.det({"eval": found}, LOOKS)
        assert plots.roc({"eval": found}, LOOKS)
        assert plots.reliability({"eval": figures}, LOOKS)
        assert plots.distances({"eval": curves.histogram(trials, 1.9)}, 1.0, LOOKS)


def test_history_with_gaps_is_drawn():
    history: list[dict[str, Any]] = [
        {"epoch": 1, "eval_eer": 0.2},
        {"epoch": 2, "train_mean_similar_distance": None},
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots.epochs(history, None, 1.0)
        assert plots.error_by_epoch(history, 2)


def test_slices_without_a_rate_or_an_interval_are_drawn():
    rows: list[dict[str, Any]] = [
        {"place": "everybody", "set": "eval", "value": 0.1, "low": None, "high": None},
        {"place": "mixed", "set": "eval", "value": None, "low": None, "high": None},
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert speaker_plots.error_rates(rows, ["everybody", "mixed"], LOOKS)


def test_a_heatmap_with_an_empty_cell_is_drawn():
    figures = {"numbers": [1, 2], "mean_distance": [[None, 0.4], [0.4, 0.1]], "speakers": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert speaker_plots.heatmap(figures, 0.5, speaker_plots.highest(figures))


def _rates(title: str) -> bytes:
    rows = [{"place": "3 s", "set": "calls", "value": 0.1, "low": 0.05, "high": 0.2}]
    looks = plots.set_looks([{"set": "calls", "title": title}])
    return speaker_plots.error_rates(rows, ["3 s"], looks)


@pytest.mark.parametrize("title", ["नेपाली फोन", "電話 <b>&"])
def test_names_whose_script_the_font_lacks_are_left_to_the_browser(title):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = _rates(title)
    assert plots.image_format(drawn) == "svg"
    texts = [each.text for each in ElementTree.fromstring(drawn).iter() if each.text]
    assert title in texts and "equal error rate (%)" in texts
    assert drawn == _rates(title)
    assert b"<dc:date>" not in drawn


@pytest.mark.parametrize("title", ["calls", "Füße, ночь, νύχτα", "کال"])
def test_other_names_are_drawn(title):
    assert plots.image_format(_rates(title)) == "png"


def test_a_long_name_leaves_the_axes_their_width(monkeypatch):
    widths = []

    def measured(figure):
        figure.draw_without_rendering()
        widths.append(figure.axes[0].get_position().width)
        return b""

    monkeypatch.setattr(plots, "encoded", measured)
    bins = {"edges": [0.0, 1.0, 2.0], "similar": [3, 1], "dissimilar": [1, 3]}
    for title in ("calls", "calls of the district office " * 7, "x" * 250):
        plots.distances({"calls": bins}, 0.6, plots.set_looks([{"set": "calls", "title": title}]))
    assert min(widths) > 0.95 * widths[0]


@pytest.mark.parametrize(
    ("name", "file"), [("calls", "heatmap_calls.png"), ("न" * 84, "plot_3.png")]
)
def test_a_plot_of_a_set_with_a_long_name_has_a_file_of_its_own(name, file):
    assert report.file_name(f"heatmap_{name}", b"\x89PNG", 3) == file
