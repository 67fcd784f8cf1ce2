"""Which models saw a recording, and which model a folder means."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ml_metadata.proto.metadata_store_pb2 import Artifact
from tensorflow_model_analysis.proto.validation_result_pb2 import ValidationResult

from components.errors import SwarError
from components.features import EVAL, TRAIN
from pipeline.models.lineage import model_lineage, models_that_saw
from pipeline.models.rollback import rollback
from pipeline.output.folder import calibrated_on, output_and_version
from tests.pipeline.models.support_records import Output


def _row(name: str, **splits: float) -> dict[str, object]:
    speaker = name.partition("/")[0]
    return {"recording": name, "speaker": speaker, "path": f"/data/{name}", "splits": splits}


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """The first model saw asha and bina, the second bina alone, the third was not published."""
    made = Output(tmp_path / "out")
    asha, bina = _row("asha/1.wav", train=3.0), _row("bina/1.wav", train=2.0, eval=1.0)
    made.publish(made.train("one", [asha, bina, _row("asha/2.wav", eval=4.0)]), 100)
    made.publish(made.train("two", [bina]), 200)
    made.train("three", [asha])
    return made


def test_a_recording_is_found_in_every_model_that_saw_it(output: Output) -> None:
    first, third = models_that_saw(output.folder, "/data/asha/1.wav")
    assert (first.model_digest, first.versions, first.is_served) == ("one", [100], False)
    assert first.seconds == {TRAIN: 3.0}
    assert (third.model_digest, third.versions) == ("three", [])
    assert [each.model_digest for each in models_that_saw(output.folder, "bina/1.wav")] == [
        "one",
        "two",
    ]


def test_a_folder_means_all_that_lies_in_it(output: Output) -> None:
    first, _ = models_that_saw(output.folder, "/data/asha/")
    assert (first.recordings, first.seconds) == (2, {TRAIN: 3.0, EVAL: 4.0})
    assert models_that_saw(output.folder, "/data/ash") == []


def test_a_model_that_was_published_again_has_both_versions(output: Output) -> None:
    done = rollback(output.folder)
    first, _ = models_that_saw(output.folder, "/data/asha/1.wav")
    assert (first.versions, first.is_served) == ([100, done.new_version], True)


def test_a_calibrated_version_is_of_the_model_that_it_was_calibrated_of(output: Output) -> None:
    output.calibrate(300, 0.5)
    _, second = models_that_saw(output.folder, "bina/1.wav")
    assert (second.model_digest, second.versions, second.is_served) == ("two", [200, 300], True)
    published = output.folder / "published"
    assert calibrated_on(published / "200") is None
    assert calibrated_on(published / "300") == {"data": "calls"}


def test_the_lineage_of_a_calibrated_version_is_the_models_and_tells_of_the_recordings(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_judged = {"evaluation": Artifact(), "blessing": Artifact()}
    module = "pipeline.models.lineage"
    monkeypatch.setattr(f"{module}._judged", lambda *_: nothing_judged)
    monkeypatch.setattr(f"{module}.read_metrics", lambda _: {})
    monkeypatch.setattr(f"{module}.tfma.load_validation_result", lambda _: ValidationResult())
    output.calibrate(300, 0.5)
    before, calibrated = (
        model_lineage(output.folder / "published" / version) for version in ("200", "300")
    )
    assert calibrated.calibrated_on == {"data": "calls"}
    assert (list(calibrated.published), calibrated.is_served) == ([300], True)
    assert before.calibrated_on is None
    assert (list(before.published), before.is_served) == ([200], False)
    assert calibrated.recordings == before.recordings == 1
    assert calibrated.model_digest == before.model_digest == "two"
    assert calibrated.artifact == before.artifact


def test_a_duplicate_is_found_as_what_was_trained_on(output: Output) -> None:
    reject = {
        "file": "asha/copy.wav",
        "reason": "duplicate",
        "seconds": None,
        "detail": "the same speech as 'asha/1.wav'",
        "same_as": "asha/1.wav",
    }
    output.train("four", [_row("asha/1.wav", train=3.0)], [reject])
    (seen,) = models_that_saw(output.folder, "/data/asha/copy.wav")
    assert (seen.model_digest, seen.recordings, seen.seconds) == ("four", 1, {TRAIN: 3.0})


def test_of_a_copy_the_records_of_the_original_are_not_told(output: Output, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(output.folder, copy)
    with pytest.raises(SwarError, match="copy was moved or copied"):
        models_that_saw(copy, "/data/asha/1.wav")


def test_of_a_moved_folder_it_is_not_said_that_no_model_saw(tmp_path: Path) -> None:
    output = Output(tmp_path / "out")
    output.train("one", [_row("asha/1.wav", train=3.0)])
    moved = output.folder.rename(tmp_path / "moved")
    with pytest.raises(SwarError, match="moved was moved or copied"):
        models_that_saw(moved, "/data/asha/1.wav")


def test_lost_rows_are_told(output: Output) -> None:
    for path in output.folder.rglob("recordings.jsonl"):
        path.unlink()
    with pytest.raises(SwarError, match=r"recordings\.jsonl cannot be read .*train anew"):
        models_that_saw(output.folder, "/data/asha/1.wav")


def test_damaged_records_are_told(output: Output, tmp_path: Path) -> None:
    cut_off = tmp_path / "cut_off"
    shutil.copytree(output.folder, cut_off)
    path = cut_off / "metadata.sqlite"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SwarError, match=r"metadata\.sqlite is damaged"):
        models_that_saw(cut_off, "/data/asha/1.wav")


def test_a_model_is_named_by_its_folder_or_one_above(output: Output, tmp_path: Path) -> None:
    published = output.folder / "published"
    assert output_and_version(published / "100") == (output.folder, 100)
    for newest in (published, output.folder):
        assert output_and_version(newest) == (output.folder, 200)
    for wrong in (tmp_path, tmp_path / "absent", published / "7"):
        with pytest.raises(SwarError, match="name"):
            output_and_version(wrong)


def test_an_evaluation_that_is_gone_is_told(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = {"evaluation": Artifact(uri=str(output.folder / "gone")), "blessing": Artifact()}
    monkeypatch.setattr("pipeline.models.lineage._judged", lambda *_: judged)
    with pytest.raises(SwarError, match=r"/gone cannot be read \(.*train anew"):
        model_lineage(output.folder)


@pytest.mark.parametrize("damage", ["DELETE FROM Event", "DROP TABLE Artifact"])
def test_records_of_which_a_part_is_lost_are_told(output: Output, damage: str) -> None:
    with closing(sqlite3.connect(output.folder / "metadata.sqlite")) as records:
        records.execute(damage)
        records.commit()
    with pytest.raises(SwarError, match=r"metadata\.sqlite cannot be read \(.*: bring it back"):
        models_that_saw(output.folder, "/data/asha/1.wav")


def test_a_version_whose_number_is_no_time_is_told_without_one(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated = 20_261_130_120_000  # as people number days
    shutil.copytree(output.folder / "published/200", output.folder / f"published/{dated}")
    nothing_judged = {"evaluation": Artifact(), "blessing": Artifact()}
    module = "pipeline.models.lineage"
    monkeypatch.setattr(f"{module}._judged", lambda *_: nothing_judged)
    monkeypatch.setattr(f"{module}._evaluation", lambda *_: ({}, []))
    assert model_lineage(output.folder).published == {
        200: "1970-01-01T00:03:20Z",
        dated: "no time",
    }
