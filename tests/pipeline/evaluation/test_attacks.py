"""`swar evaluate --attacks`: a user's own attack recordings against the claimed speakers."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from components.terminal import Console
from pipeline.evaluation.display import render
from pipeline.evaluation.folders import evaluate
from pipeline.evaluation.report import write_report
from tests.pipeline.evaluation.support_evaluation import RATE, SETTINGS, exit_status

QUICK = ("--duration", "3", "--condition", "clean")


@pytest.fixture(scope="module")
def attacks(made, tmp_path_factory):
    """A replay of asha's own recording, one of dev's, silence; no audio in bina's name."""
    folder = tmp_path_factory.mktemp("attacks") / "spoofed"
    for name in ("asha/replayed", "asha/converted", "bina"):
        (folder / name).mkdir(parents=True)
    shutil.copy(made.data / "asha" / "take0.wav", folder / "asha" / "replayed" / "1.wav")
    shutil.copy(made.data / "dev" / "take0.wav", folder / "asha" / "converted" / "1.wav")
    soundfile.write(folder / "asha" / "converted" / "2.wav", np.zeros(3 * RATE), RATE)
    shutil.copy(made.data / "bina" / "take1.wav", folder / "bina" / "own.wav")
    (folder / "bina" / "broken.wav").write_bytes(b"RIFF and no more")
    return folder


@pytest.fixture(scope="module")
def result(made, attacks):
    quiet = Console(quiet=True)
    data, spoofed = [str(made.data)], str(attacks)
    return evaluate(made.model, data, SETTINGS, quiet, only_unseen=False, attacks=spoofed)


def test_every_attack_is_counted_by_its_kind(result):
    found = {each.kind: each for each in result.evaluation.attacks}
    assert set(found) == {"all", "replayed", "converted", "unknown", "genuine"}
    counts = {kind: (each.recordings, each.refused) for kind, each in found.items()}
    # A speaker's own: two recordings that can be used, each against the other.
    assert counts == {
        "all": (4, 1),
        "replayed": (1, 0),
        "converted": (2, 1),
        "unknown": (1, 0),
        "genuine": (4, 0),
    }
    assert found["all"].speakers == 2


def test_the_models_own_decision_counts(made, result):
    claims = result.claims
    threshold = result.card["threshold"]
    is_taken = claims["status"] == "ok"
    assert (claims["accepted"] == (is_taken & (claims["distance"] <= threshold))).all()
    assert claims["distance"].isna().equals(~is_taken)
    replayed = claims[claims["kind"] == "replayed"]["distance"].item()
    # The reference is the mean of that recording and another one.
    genuine = claims[(claims["speaker"] == "asha") & (claims["kind"] == "genuine")]["distance"]
    assert 0.0 < replayed < genuine.min()


def test_what_is_no_audio_is_listed(result):
    listed = {(each.set, each.name) for each in result.evaluation.rejected_recordings}
    assert ("spoofed", "bina/broken.wav") in listed


def test_page_and_terminal_show_them(result, tmp_path):
    write_report(tmp_path / "page.html", result, SETTINGS)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert '<section id="attacks">' in page
    assert "converted" in page
    console = Console(width=120, record=True, quiet=False)
    with console.capture() as shown:
        console.print(render(result.evaluation))
    assert "genuine, for comparison" in shown.get()


def test_a_manifest_tells_kinds_by_its_column(made, attacks, tmp_path, monkeypatch, capfd):
    table = tmp_path / "attacks.csv"
    table.write_text(f"path,speaker,attack\n{attacks}/asha/replayed/1.wav,asha,loudspeaker\n")
    options = (*QUICK, "--attacks", table, "--output", tmp_path / "new", "--json")
    assert exit_status(monkeypatch, made.model, "--data", made.data, *options) == 0
    told = json.loads(capfd.readouterr().out)["attacks"]
    assert [each["kind"] for each in told] == ["all", "genuine"]
    stored = pd.read_parquet(tmp_path / "new" / "attacks.parquet")
    assert list(stored["kind"]) == ["loudspeaker", "genuine", "genuine"]


def test_faults_are_one_line(made, attacks, tmp_path, monkeypatch, capfd):
    (tmp_path / "attacks" / "zoe").mkdir(parents=True)
    shutil.copy(made.data / "asha" / "take0.wav", tmp_path / "attacks" / "zoe" / "1.wav")
    data = ("--data", made.data)
    for options, message in (
        ((*data, "--attacks", tmp_path / "attacks"), "who are not in --data: 'zoe'"),
        ((*data, "--attacks", tmp_path / "nowhere"), "does not exist"),
        ((*data, "--data", attacks, "--attacks", attacks), "give one --data"),
        ((*data, "--trials", "list.txt", "--attacks", attacks), "or --attacks"),
    ):
        assert exit_status(monkeypatch, made.model, *options) == 2
        error = capfd.readouterr().err
        assert message in error
        assert error.count("\n") == 1
