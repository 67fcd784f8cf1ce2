"""`swar evaluate` on what cannot be evaluated: one line, status 2."""

import json
import os
import shutil

import pytest

from components.errors import SwarError
from components.model.files import MODEL_CARD, version_folder
from components.model.published import PublishedModel
from components.terminal import Console
from pipeline.evaluation.folders import evaluate
from tests.pipeline.evaluation.support_evaluation import SETTINGS, exit_status, write_list


def without_card(made, tmp_path):
    copy = shutil.copytree(made.version, tmp_path / "copy" / "1")
    (copy / MODEL_CARD).unlink()
    return [copy.parent, "--data", made.data]


def one_speaker(made, tmp_path):
    shutil.copytree(made.data / "asha", tmp_path / "few" / "asha")
    return [made.model, "--data", tmp_path / "few"]


def nothing_there(made, tmp_path):
    rows = [f"gone/{name}{take}.wav,{name}\n" for name in ("asha", "dev") for take in range(2)]
    (tmp_path / "gone.csv").write_text("path,speaker\n" + "".join(rows))
    return [made.model, "--data", tmp_path / "gone.csv"]


def nothing_usable(made, tmp_path):
    for name in ("asha", "bina"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "a.wav").write_bytes(b"RIFF and no more")
    shutil.copy(made.data / "asha" / "silent.wav", tmp_path / "broken" / "bina")
    return [made.model, "--data", tmp_path / "broken"]


def one_speaker_usable(made, tmp_path):
    arguments = one_speaker(made, tmp_path)
    (tmp_path / "few" / "bina").mkdir()
    shutil.copy(made.data / "bina" / "broken.wav", tmp_path / "few" / "bina")
    return arguments


def same_audio(made, tmp_path):
    copy = shutil.copytree(made.data, tmp_path / "copy")
    shutil.copy(copy / "asha" / "take0.wav", copy / "dev" / "mine.wav")
    return [made.model, "--data", copy]


def full_output(made, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    return [made.model, "--data", made.data, "--output", tmp_path]


def unwritable_output(made, tmp_path):
    (tmp_path / "file").touch()
    return [made.model, "--data", tmp_path / "nope", "--output", tmp_path / "file" / "a" / "b"]


def odd_path(name):
    def arguments(made, tmp_path):
        copy = shutil.copytree(made.version, tmp_path / name / "published" / "1")
        return [copy.parent, "--data", made.data]

    return arguments


def overlapping_cuts(made, tmp_path):
    rows = [
        f"{made.data}/{name}/take0.wav,{name},{start},{start + 5}\n"
        for name, start in (("asha", 0), ("asha", 4), ("dev", 0))
    ]
    manifest = tmp_path / "cuts.csv"
    manifest.write_text("path,speaker,start_seconds,end_seconds\n" + "".join(rows))
    return [made.model, "--data", manifest]


def changed_data(made, tmp_path):
    shutil.copytree(made.data / "asha", tmp_path / "new" / "asha")
    return [made.model, "--data", tmp_path / "new", "--split", "unseen"]


def trial_list(*lines):
    def arguments(made, tmp_path):
        listed = write_list(tmp_path, *lines)
        return [made.model, "--data", made.data, "--trials", listed]

    return arguments


GOOD = "1 asha/take0.wav asha/take1.wav"


def unknown_condition(made, tmp_path):
    return [made.model, "--data", made.data, "--condition", "helicopter"]


def condition_of_a_list(made, tmp_path):
    listed = write_list(tmp_path, "1 asha/take0.wav asha/take1.wav")
    return [made.model, "--data", made.data, "--trials", listed, "--condition", "hum"]


def report_of_a_list(made, tmp_path):
    listed = write_list(tmp_path, GOOD)
    return [made.model, "--data", made.data, "--trials", listed, "--report", tmp_path / "new"]


FAULTS = {
    "report of a list": (report_of_a_list, "--trials compares whole files of one folder"),
    "unknown condition": (unknown_condition, "'helicopter': choose among clean, white_noise_20_db"),
    "condition of a list": (
        condition_of_a_list,
        "no --duration, --condition, --split or --attacks",
    ),
    "no model": (lambda m, t: [t / "nope", "--data", m.data], "nope' does not exist"),
    "no version": (lambda m, t: [t, "--data", m.data], "holds no model"),
    "no card": (without_card, "has no readable assets.extra/swar.json"),
    "no data": (lambda m, t: [m.model, "--data", t / "nope"], "nope' does not exist"),
    "one speaker": (one_speaker, "few: 1 speaker(s) with enough speech"),
    "nothing there": (
        nothing_there,
        "gone: 4 of 4 recordings cannot be used: 4 missing, such as 'gone/asha0.wav': mend or",
    ),
    "nothing usable": (
        nothing_usable,
        "broken: 3 of 3 recordings cannot be used: 2 not_audio, 1 silent, such as 'asha/a.wav'",
    ),
    "one speaker usable": (
        one_speaker_usable,
        "verification needs at least 2 (2 of 4 recordings cannot be used: 1 silent, 1 not_audio, ",
    ),
    "two sets of one name": (
        lambda m, t: [m.model, "--data", m.data, "--data", m.data],
        "two sets are called 'voices'",
    ),
    "same audio": (same_audio, "the same audio under two speakers: 'asha/take0.wav'"),
    "output": (full_output, "exists and is not an empty folder"),
    "output below a file": (unwritable_output, "/file/a/b: Not a directory: choose another folder"),
    "path with brackets": (odd_path("m [x]"), "m [x]/published/1' cannot be read by TensorFlow"),
    "path that is not UTF-8": (
        odd_path(os.fsdecode(b"m\xff")),
        "m\\udcff/published/1' cannot be read by TensorFlow",
    ),
    "cuts": (overlapping_cuts, "overlap: correct their seconds"),
    "duration": (
        lambda m, t: [m.model, "--data", m.data, "--duration", "nan"],
        "--duration must be a number of seconds above 0",
    ),
    "too long": (
        lambda m, t: [m.model, "--data", m.data, "--duration", "1000"],
        "no two utterances to compare in voices",
    ),
    "unseen of what": (changed_data, "new is not, as a whole and unchanged, the data"),
    "list of what": (
        lambda m, t: [m.model, "--data", m.data, "--trials", t / "nope.txt"],
        "nope.txt' cannot be read (No such file or directory): name another file",
    ),
    "list and duration": (
        lambda m, t: [m.model, "--data", m.data, "--trials", t, "--duration", "3"],
        "--trials compares whole files of one folder",
    ),
    "list: bad line": (trial_list(GOOD, "1 asha/take0.wav"), "trials.txt line 2: has 2 fields"),
    "list: no such file": (
        trial_list("0 asha/take0.wav dev/take9.wav", "1 asha/take8.wav asha/take0.wav"),
        "trials.txt, such as 'dev/take9.wav' (missing): write paths below it",
    ),
    "list: contradiction": (
        trial_list(GOOD, "1 asha/take0.wav dev/take0.wav"),
        "trials.txt line 2: the label 1 contradicts the speakers 'asha' and 'dev'",
    ),
    "list: nothing usable": (
        trial_list("0 asha/silent.wav bina/broken.wav"),
        "no two utterances to compare in voices",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_status_2(made, tmp_path, monkeypatch, capfd, fault):
    arguments, message = FAULTS[fault]
    assert exit_status(monkeypatch, *arguments(made, tmp_path)) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("swar: error: ")
    assert message in shown.err


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b", "a {b}"])
def test_other_odd_paths_are_read(made, tmp_path, name):
    copy = shutil.copytree(made.version, tmp_path / name / "1")
    assert PublishedModel(version_folder(copy.parent)).folder == copy


def test_a_card_of_another_version_is_told(made, tmp_path):
    copy = shutil.copytree(made.version, tmp_path / "1")
    card = json.loads((copy / MODEL_CARD).read_text())
    card["speech"]["denoise"] = True
    (copy / MODEL_CARD).write_text(json.dumps(card))
    with pytest.raises(SwarError, match="published by another version of swar"):
        evaluate(copy, [str(made.data)], SETTINGS, Console(quiet=True), only_unseen=False)
