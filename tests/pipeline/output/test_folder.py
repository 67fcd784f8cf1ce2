"""What a run writes is for its user alone, but for what is published."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from components.errors import SwarError
from components.pusher.publish import publish
from pipeline.output.folder import METADATA, check_records, check_run, claimed
from pipeline.output.records import Records
from tests.pipeline.models.support_records import Output


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_else_reads_what_a_run_wrote_before(tmp_path: Path) -> None:
    output = tmp_path / "output"
    for name in ("artifacts", "checkpoints", "published", "logs"):
        (output / name).mkdir(parents=True)
    (output / "metadata.sqlite").touch()
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (output / "link").symlink_to(outside)
    for path in (output, *output.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with claimed(output):
        pass
    assert _mode(output) == 0o711  # published models are reached through it
    assert _mode(output / "published") == 0o755
    assert {_mode(output / name) for name in ("artifacts", "checkpoints", "logs")} == {0o700}
    assert {_mode(output / name) for name in ("metadata.sqlite", ".lock")} == {0o600}
    assert _mode(outside) == 0o755


def test_a_server_of_another_user_reads_what_is_published(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        model = tmp_path / "model"
        (model / "variables").mkdir(parents=True)
        (model / "saved_model.pb").touch()
        (model / "variables" / "variables.index").touch()
        version = Path(publish(str(model), str(tmp_path / "published")))
    finally:
        os.umask(umask)
    assert {_mode(path) for path in (version.parent, version, version / "variables")} == {0o755}
    files = (version / "saved_model.pb", version / "variables" / "variables.index")
    assert {_mode(path) for path in files} == {0o644}


def _execute(output: Path, *statements: str) -> None:
    with closing(sqlite3.connect(output / METADATA)) as records:
        for statement in statements:
            records.execute(statement)
        records.commit()


def test_records_without_a_run_say_nothing_of_models(tmp_path: Path) -> None:
    output = Output(tmp_path / "out").folder
    check_run(output)
    for damage in ("DELETE FROM Context", "DROP TABLE Context"):
        _execute(output, damage)
        with pytest.raises(SwarError, match=r"metadata\.sqlite has no run in it: bring it back"):
            check_run(output)
    (output / METADATA).write_bytes(b"")
    with pytest.raises(SwarError, match=r"metadata\.sqlite has no run in it: bring it back"):
        check_run(output)


def test_artifacts_that_the_records_do_not_know_are_not_written_among(tmp_path: Path) -> None:
    """Executions are numbered on from the records: lost ones would give old numbers anew."""
    output = Output(tmp_path / "out")
    output.train("one")  # three executions
    for number, is_known in (("3", True), ("4", False)):
        (output.folder / "artifacts" / "SpeechExampleGen" / "speech" / number).mkdir(parents=True)
        if is_known:
            check_records(output.folder)
            check_run(output.folder)
    for check in (check_records, check_run):
        with pytest.raises(SwarError, match=r"speech/4 is of a run that .* does not know"):
            check(output.folder)
    (output.folder / METADATA).unlink()
    with pytest.raises(SwarError, match=r"speech/3 is of a run that .* does not know"):
        check_records(output.folder)


def test_a_version_that_is_gone_is_not_taken_as_published(tmp_path: Path) -> None:
    """The run's cache would, and the run would name a model that is not there."""
    output = Output(tmp_path / "out")
    output.publish(output.train("one"), 100)
    output.publish(output.train("two"), 200)
    Records(output.folder).withdraw_missing_pushes()
    assert len(Records(output.folder).live("PushedModel")) == 2
    (output.folder / "published" / "200" / "saved_model.pb").unlink()
    Records(output.folder).withdraw_missing_pushes()
    (left,) = Records(output.folder).live("PushedModel")
    assert left.custom_properties["pushed_version"].string_value == "100"
