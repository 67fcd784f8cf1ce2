"""`swar evaluate --attacks`: a user's own attack recordings against the claimed speakers."""

import json
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import soundfile

from components.errors import SwarError
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
    # A speaker's own: two recordings, each against the other, and asha's silence.
    assert counts == {
        "all": (4, 1),
        "replayed": (1, 0),
        "converted": (2, 1),
        "unknown": (1, 0),
        "genuine": (5, 1),
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


def test_a_speakers_own_recordings_are_claims_that_the_model_may_refuse(result):
    claims = result.claims
    own = claims[(claims["speaker"] == "asha") & (claims["kind"] == "genuine")]
    assert list(own["recording"]) == ["asha/silent.wav", "asha/take0.wav", "asha/take1.wav"]
    silent = own.iloc[0]
    assert silent["status"] != "ok"
    assert not silent["accepted"]
    genuine = next(each for each in result.evaluation.attacks if each.kind == "genuine")
    assert genuine.rate.value == genuine.accepted / 5


def test_without_another_recording_a_speakers_own_is_no_claim(made, tmp_path):
    for folder in ("data/asha", "data/bina", "spoofed/asha"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("asha", "bina"):
        shutil.copy(made.data / name / "take0.wav", tmp_path / "data" / name)
    shutil.copy(made.data / "asha" / "silent.wav", tmp_path / "data" / "asha")
    shutil.copy(made.data / "dev" / "take0.wav", tmp_path / "spoofed" / "asha")
    quiet, data = Console(quiet=True), [str(tmp_path / "data")]
    spoofed = str(tmp_path / "spoofed")
    found = evaluate(made.model, data, SETTINGS, quiet, only_unseen=False, attacks=spoofed)
    # take0 makes the only reference: nothing is left that it could be compared with.
    own = found.claims[found.claims["kind"] == "genuine"]
    assert list(own["recording"]) == ["asha/silent.wav"]


def test_what_is_no_audio_is_listed_once_by_its_set(result):
    listed = Counter((each.set, each.name) for each in result.evaluation.rejected_recordings)
    assert listed["spoofed", "bina/broken.wav"] == listed["voices", "bina/broken.wav"] == 1


@pytest.mark.parametrize("kind", ["genuine", "all"])
def test_a_kind_with_the_name_of_another_measure_is_refused(made, tmp_path, kind):
    (tmp_path / "spoofed" / "asha" / kind).mkdir(parents=True)
    shutil.copy(made.data / "dev" / "take0.wav", tmp_path / "spoofed" / "asha" / kind / "1.wav")
    quiet, data = Console(quiet=True), [str(made.data)]
    spoofed = str(tmp_path / "spoofed")
    with pytest.raises(SwarError, match=rf"asha/{kind}/1\.wav.*give the kind another name"):
        evaluate(made.model, data, SETTINGS, quiet, only_unseen=False, attacks=spoofed)


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
    measured = json.loads(capfd.readouterr().out)["attacks"]
    assert [each["kind"] for each in measured] == ["all", "genuine"]
    stored = pd.read_parquet(tmp_path / "new" / "attacks.parquet")
    assert list(stored["kind"]) == ["loudspeaker", "genuine", "genuine", "genuine"]


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
