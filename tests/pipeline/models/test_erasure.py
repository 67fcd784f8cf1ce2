"""A person is removed from an output folder, and what cannot be removed is told."""

import json
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.artifacts import RECORDINGS_FILE, REJECTS_FILE
from components.errors import SwarError
from components.features import EVAL, TRAIN
from pipeline.models.erasure import erase_speaker
from pipeline.models.lineage import models_that_saw
from tests.pipeline.models.support_records import Output


def _row(speaker: str, file: str, **splits: float) -> dict[str, object]:
    name = f"{speaker}/{file}"
    return {"recording": name, "path": f"/data/{name}", "speaker": speaker, "splits": splits}


def _reject(file: str) -> dict[str, object]:
    return {"file": file, "reason": "silent", "seconds": 1.0, "detail": "", "same_as": None}


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """The first model was made from asha and bina, the second from bina alone."""
    made = Output(tmp_path / "out")
    bina = _row("bina", "1.wav", train=2.0)
    rows = [_row("asha", "1.wav", train=3.0), bina, _row("asha", "2.wav", eval=4.0)]
    made.publish(made.train("one", rows, [_reject("asha/bad.wav"), _reject("bina/asha.wav")]), 100)
    made.publish(made.train("two", [bina]), 200)
    for kind in ("Examples", "Model"):
        for folder in (made.folder / "artifacts" / kind).iterdir():
            (folder / "data").write_text("asha and bina")
    (made.folder / "logs").mkdir()
    (made.folder / "logs" / "1.log").write_text("began\nrejected asha/bad.wav\nsashay\nasha-2\n")
    (made.folder / "checkpoints" / "6").mkdir(parents=True)
    return made


def _rows_of(output: Output, name: str) -> list[dict[str, object]]:
    files = sorted((output.folder / "artifacts").rglob(name))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _live(output: Output, kind: str) -> list[mlmd.Artifact]:
    return list(output.store.get_artifacts_by_type(kind))


def test_what_is_of_a_person_goes_and_other_peoples_stays(output: Output) -> None:
    done = erase_speaker(output.folder, "asha")
    assert done.recordings == 2
    assert {row["speaker"] for row in _rows_of(output, RECORDINGS_FILE)} == {"bina"}
    assert [row["file"] for row in _rows_of(output, REJECTS_FILE)] == ["bina/asha.wav"]
    speech, pairs, other_speech, other_pairs = _live(output, "Examples")
    for gone in (speech, pairs):
        assert not Path(gone.uri).exists()
        assert gone.uri in done.removed
    for stays in (other_speech, other_pairs):
        assert Path(stays.uri, "data").exists()
    log = (output.folder / "logs" / "1.log").read_text()
    assert log == "began\nsashay\nasha-2\n"
    assert list((output.folder / "checkpoints").iterdir()) == []


def test_the_models_that_know_a_person_are_told_and_stay(output: Output) -> None:
    (model,) = erase_speaker(output.folder, "asha").models
    assert (model.model_digest, model.versions) == ("one", [100])
    assert model.seconds == {TRAIN: 3.0, EVAL: 4.0}
    assert (output.folder / "published" / "100" / "saved_model.pb").exists()
    assert models_that_saw(output.folder, "/data/asha/") == []
    assert len(models_that_saw(output.folder, "/data/bina/")) == 2


def test_files_that_still_have_the_name_are_told(output: Output) -> None:
    left = {
        Path(file).relative_to(output.folder) for file in erase_speaker(output.folder, "asha").left
    }
    assert {path.parts[:2] for path in left if path.name == "data"} == {
        ("artifacts", "Examples"),
        ("artifacts", "Model"),
    }
    assert Path("logs/1.log") in left  # of other words that hold it


def test_a_name_of_another_script_and_rejects_below_a_span(tmp_path: Path) -> None:
    made = Output(tmp_path / "out")
    rejects = [_reject("2026-01-05/\u0906\u0936\u093e/bad.wav"), _reject("2026-01-05/bina/1.wav")]
    made.train("one", [_row("bina", "1.wav", train=3.0)], rejects)
    (made.folder / "logs").mkdir()
    (made.folder / "logs" / "notes.json").write_text(json.dumps("of \u0906\u0936\u093e"))
    done = erase_speaker(made.folder, "\u0906\u0936\u093e")
    assert [row["file"] for row in _rows_of(made, REJECTS_FILE)] == ["2026-01-05/bina/1.wav"]
    assert done.recordings == 0
    assert done.left == [str(made.folder / "logs" / "notes.json")]


def test_a_speaker_whom_no_run_used_is_an_error(output: Output) -> None:
    with pytest.raises(SwarError, match=r"no run in .* used recordings of a speaker named 'ash'"):
        erase_speaker(output.folder, "ash")
    assert len(_rows_of(output, RECORDINGS_FILE)) == 4


def test_a_folder_of_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SwarError, match=r"has no metadata\.sqlite"):
        erase_speaker(tmp_path, "asha")


def test_what_a_killed_run_left_half_written_goes(output: Output) -> None:
    half = output.folder / "artifacts" / "SpeechExampleGen" / "speech" / "1"
    half.mkdir(parents=True)
    (half / "data").write_bytes(b"speech of asha, compressed")
    done = erase_speaker(output.folder, "asha")
    assert not half.exists()
    assert str(half) in done.removed
    (first, second) = _live(output, "Model")
    assert Path(first.uri, "Format-Serving").is_dir()
    assert Path(second.uri, "Format-Serving").is_dir()


def test_a_removal_that_was_broken_off_is_finished_by_the_same_command(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.models.erasure.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            erase_speaker(output.folder, "asha")
    done = erase_speaker(output.folder, "asha")
    assert done.recordings == 2
    assert [model.model_digest for model in done.models] == ["one"]
    speech, pairs, *_ = _live(output, "Examples")
    assert not Path(speech.uri).exists()
    assert not Path(pairs.uri).exists()


def test_a_folder_that_cannot_be_emptied_is_one_line(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("pipeline.models.erasure.shutil.rmtree", refused)
    with pytest.raises(SwarError, match=r"cannot write .*artifacts/Examples.*make it writable"):
        erase_speaker(output.folder, "asha")


def test_a_name_is_found_however_its_accents_are_written(tmp_path: Path) -> None:
    together, apart = "Zo\u00eb", "Zoe\u0308"
    made = Output(tmp_path / "out")
    made.train("one", [_row(together, "1.wav", train=3.0)], [_reject(f"{apart}/bad.wav")])
    (made.folder / "logs").mkdir()
    (made.folder / "logs" / "1.log").write_text(f"rejected {apart}/bad.wav\nbegan\n")
    (made.folder / "notes.txt").write_text(apart)
    done = erase_speaker(made.folder, apart)
    assert (done.speaker, done.recordings) == (together, 1)
    assert (made.folder / "logs" / "1.log").read_text() == "began\n"
    assert done.left == [str(made.folder / "notes.txt")]
