"""The page shows what `figures.json` says, and nothing from elsewhere."""

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from components.verification_report.page import NOTHING
from tests.components.verification_report.support_report import CARD, SEEN, UNSEEN, report, speech

BOUNDS = ("value", "low", "high")
LOADING = ("src", "href", "srcset", "poster", "data", "action")


class _Page(HTMLParser):
    """Numbers with their places, all text, and what the page would load."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.numbers, self.text, self.loads, self.tags, self.ids = [], [], [], [], set()
        self._open: list[Any] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids |= {values["id"]} if "id" in values else set()
        self.loads += [values[name] for name in LOADING if values.get(name)]
        if tag == "data":
            self._open = [values["data-figure"], float(values["value"]), values["data-style"], ""]

    def handle_endtag(self, tag):
        if tag == "data":
            self.numbers.append(tuple(self._open))
            self._open = []

    def handle_data(self, data):
        self.text.append(data)
        if self._open:
            self._open[3] += data


@pytest.fixture(scope="module")
def page(made):
    return _Page(made.html)


def _at(figures, path):
    for part in path.split("/"):
        figures = figures[int(part)] if isinstance(figures, list) else figures[part]
    return figures


def test_every_number_on_the_page_is_that_of_the_figures(either):
    numbers, figures = _Page(either.html).numbers, either.figures
    assert len(numbers) > 200
    for path, value, style, shown in numbers:
        assert value == _at(figures, path), path
        digits = re.fullmatch(r"(-?[\d,]*\.?(\d*))(\xa0\S+)?", shown)
        assert digits, shown
        scale = 100.0 if style in ("percent", "points", "share") else 1.0
        assert shown.endswith("%") == (style in ("percent", "share"))
        rounded = float(digits[1].replace(",", ""))
        # Half a unit of the last digit shown; three significant digits of seconds.
        half = 0.5 * 10.0 ** -len(digits[2])
        assert abs(rounded - scale * value) <= half * (1.0 + 1e-9), (path, shown)


def test_what_matters_is_on_the_page(made, page):
    shown = {path for path, *_ in page.numbers}
    figures = made.figures
    for place, part in enumerate(figures["slices"]):
        at = f"slices/{place}/figures"
        known = [name for name in ("eer", "auc") if part["figures"][name]["value"] is not None]
        wanted = known if part["sliced_by"] == "all" else known[:1]
        assert {f"{at}/{name}/value" for name in wanted} <= shown
    for place in range(len(figures["conditions"])):
        at = f"conditions/{place}"
        assert {f"{at}/refused", f"{at}/figures/eer/value", f"{at}/figures/cllr/value"} <= shown
    for place in range(len(figures["open_set"])):
        at = f"open_set/{place}"
        rates = ("default/fpir", "default/fnir", "fpir_0.05/fnir")
        rule = ("per_query_0.05/fpir", "per_query_0.05/fnir")
        assert {f"{at}/rates/{rate}/value" for rate in (*rates, *rule)} <= shown
        assert {f"{at}/{name}_searches" for name in ("mated", "nonmated")} <= shown
        assert f"{at}/held_rate" in shown
    for place in range(len(figures["nonspeech"])):
        assert f"nonspeech/{place}/same_speaker_pairs_with_speech" in shown
    for kind, pairs in figures["worst"].items():
        assert {f"worst/{kind}/{place}/distance" for place in range(len(pairs))} <= shown
    for column, rows in figures["comparison"].items():
        values = {f"comparison/{column}/{row}" for row, value in rows.items() if value is not None}
        assert values <= shown
    assert {f"checks/{place}/found" for place in range(4)} <= shown
    assert {f"promises/{place}/promised/{end}" for place in range(4) for end in BOUNDS} <= shown
    for place, point in enumerate(figures["operating_points"]):
        is_known = point["threshold"] is not None
        ends = "false_accept_rate/value" if is_known else "speakers_needed"
        assert f"operating_points/{place}/{ends}" in shown


def test_few_people_have_no_big_number(page, many):
    big = {"headline/figures/eer/value", "headline/of_100/false_accept_rate"}
    assert big.isdisjoint(path for path, *_ in page.numbers)
    assert "Judged on 4\xa0people" in " ".join("".join(page.text).split(" "))
    assert big <= {path for path, *_ in _Page(many.html).numbers}
    assert "too few for an error rate" not in many.html


def test_synthetic_speakers_are_announced(made, many):
    assert "These speakers are synthetic." in many.html
    assert "synthetic." not in made.html


def test_the_article_comes_last_and_only_where_it_is_asked_for(made, many):
    sections = re.findall(r'<section id="([^"]+)"', made.html)
    assert sections[-2:] == ["method", "article"]
    assert "article" not in re.findall(r'id="([^"]+)"', many.html)
    assert many.figures["comparison"] is None


def test_the_page_loads_nothing(page):
    assert page.loads
    assert [url[:40] for url in page.loads if not url.startswith(("data:", "#"))] == []
    assert {"script", "iframe", "object", "embed"}.isdisjoint(page.tags)
    assert {url[1:] for url in page.loads if url.startswith("#")} <= page.ids


def test_stylesheets_load_nothing(made):
    (style,) = re.findall(r"<style>(.*?)</style>", made.html, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    assert "@media print" in style


def test_the_plots_are_inlined_as_they_are_in_their_files(made, page):
    inlined = {url for url in page.loads if url.startswith("data:image/png")}
    files = {name: content for name, content in made.files.items() if name.endswith(".png")}
    assert inlined == {
        f"data:image/png;base64,{base64.b64encode(content).decode()}" for content in files.values()
    }
    assert set(files) == {
        f"{name}.png"
        for name in (
            "durations", "genders", "distances", "det", "roc", "reliability", "heatmap_eval",
            "heatmap_unseen", "distance_per_epoch", "error_per_epoch", "map_speakers",
            "map_genders", "conditions",
        )
    }  # fmt: skip


def test_names_of_any_script_are_shown_as_they_are(made, page):
    text = "".join(page.text)
    for name in (*SEEN, *UNSEEN):
        assert name in text
    assert "<b>" not in made.html
    assert "<i>" not in made.html
    assert "b" not in page.tags


def test_the_worst_pairs_can_be_heard(made, page):
    names = {
        pair[f"utterance_{side}"]
        for pairs in made.figures["worst"].values()
        for pair in pairs
        for side in "ab"
    }
    heard = {url for url in page.loads if url.startswith("data:audio/flac")}
    assert len(heard) == len(names)
    silent = made.settings.model_copy(update={"sound": False})
    assert silent.model_dump() != made.settings.model_dump()


def test_without_sound_the_page_holds_no_recording(tmp_path, made):
    quiet = report(tmp_path, settings=made.settings.model_copy(update={"sound": False}))
    assert "audio" not in _Page(quiet.html).tags
    assert "data:audio" not in quiet.html


def test_a_model_that_recorded_less_is_told_apart(tmp_path):
    card = {name: value for name, value in CARD.items() if name not in ("history", "calibration")}
    bare = report(tmp_path, card=card)
    text = "".join(_Page(bare.html).text)
    assert "has not recorded its epochs" in text
    assert "is not recorded in this model" in text
    assert "distance_per_epoch.png" not in bare.files
    assert bare.figures["comparison"]["train"]["similar"] is None
    assert NOTHING in text


def test_a_report_without_unseen_speakers_says_so(tmp_path):
    seen_only = report(tmp_path, examples=speech(unseen={}))
    assert seen_only.figures["headline"]["set"] == "eval"
    assert "heatmap_unseen.png" not in seen_only.files
    assert seen_only.figures["checks"][0]["passed"] is None
    assert "No speakers were held out." in seen_only.html
    assert "No speakers were held out." not in report(tmp_path / "other").html


def test_a_refused_model_is_not_called_blessed(tmp_path, made):
    refused = report(tmp_path, blessed=False)
    assert "✗ not blessed" in refused.html
    assert "✗ not blessed" not in made.html
    assert "✓ blessed" in made.html


def test_the_page_says_why_there_is_no_rule_for_a_query(made, troubled):
    assert "the model has no operating point" in troubled.html
    assert "the model has no operating point" not in made.html


def test_figures_are_json_without_nan(made):
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(made.files["figures.json"], parse_constant=refuse)


def test_the_same_speech_gives_the_same_bytes(made, tmp_path):
    assert report(tmp_path / "speech").files == made.files
