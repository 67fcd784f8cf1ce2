"""Going back to a model that was published before."""

import errno
import fcntl
import re
import shutil
import time
from pathlib import Path

import pytest
import tensorflow as tf

from components.errors import SwarError
from components.pusher.publish import publish
from components.rolled_back import is_rolled_back, rolled_back_at
from pipeline.models.rollback import rollback
from pipeline.output.folder import ModelIdentity, published_versions
from tests.pipeline.models.support_records import Output


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Three models, published in this order: one, two, three."""
    made = Output(tmp_path / "out")
    for version, digest in ((100, "one"), (200, "two"), (300, "three")):
        made.publish(made.train(digest), version)
    return made


def _newest(output: Output) -> ModelIdentity:
    versions = published_versions(output.folder)
    return versions[max(versions)]


def _served(output: Output) -> str:
    return _newest(output).model_digest


def _marked(output: Output) -> list[bool]:
    models = output.store.get_artifacts_by_type("Model")
    return [is_rolled_back(model.uri) for model in sorted(models, key=lambda item: int(item.id))]


def test_the_model_before_is_the_newest_version_again(output: Output) -> None:
    before = int(time.time())
    done = rollback(output.folder)
    assert (done.from_version, done.to_version) == (300, 200)
    assert done.new_version >= before
    assert list(published_versions(output.folder)) == [100, 200, 300, done.new_version]
    assert (Path(done.path) / "saved_model.pb").read_text() == "two"
    assert _marked(output) == [False, False, True]
    *_, three = sorted(output.store.get_artifacts_by_type("Model"), key=lambda item: int(item.id))
    at = rolled_back_at(three.uri)
    assert at is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at)


def test_again_goes_further_back_and_not_to_what_was_taken_back(output: Output) -> None:
    rollback(output.folder)
    assert rollback(output.folder).to_version == 100
    assert _served(output) == "one"
    assert _marked(output) == [False, True, True]
    with pytest.raises(SwarError, match=r"no other model that was not rolled back: name .* --to"):
        rollback(output.folder)


def test_a_named_version_takes_back_a_rollback(output: Output) -> None:
    rollback(output.folder, 100)
    assert _marked(output) == [False, True, True]
    done = rollback(output.folder, 300)
    assert _served(output) == "three"
    assert _marked(output) == [True, True, False]
    assert done.new_version == max(published_versions(output.folder))


def test_a_rollback_that_was_killed_is_finished_by_the_next(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.models.rollback.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            rollback(output.folder)
    assert (_served(output), _marked(output)) == ("three", [False, False, True])
    assert rollback(output.folder).to_version == 200
    assert (_served(output), _marked(output)) == ("two", [False, False, True])


def test_the_next_model_is_newer_than_the_rollback(output: Output) -> None:
    done = rollback(output.folder)
    four = output.train("four")
    published = publish(f"{four.uri}/Format-Serving", str(output.folder / "published"))
    assert int(Path(published).name) > done.new_version
    assert _served(output) == "four"
    assert rollback(output.folder).to_version == done.new_version


def test_a_model_that_was_cleaned_up_stays_away_and_is_not_gone_back_to(output: Output) -> None:
    *_, three = sorted(output.store.get_artifacts_by_type("Model"), key=lambda item: int(item.id))
    shutil.rmtree(three.uri)
    assert rollback(output.folder).to_version == 200
    assert not Path(three.uri).exists()  # to TFX's cache a folder is a model
    assert rollback(output.folder).to_version == 100
    assert _served(output) == "one"


def test_what_a_run_published_again_is_gone_back_from(output: Output) -> None:
    models = sorted(output.store.get_artifacts_by_type("Model"), key=lambda item: int(item.id))
    output.publish(models[0], 400)
    assert rollback(output.folder).to_version == 300


def test_a_calibration_is_gone_back_from_to_the_one_before_it(output: Output) -> None:
    output.calibrate(400, 0.5)
    output.calibrate(500, 0.7)
    versions = published_versions(output.folder)
    assert rollback(output.folder).to_version == 400
    assert _newest(output) == versions[400]
    assert rollback(output.folder).to_version == 300  # and not to the calibration of 500
    assert _newest(output) == versions[300]
    assert _marked(output) == [False, False, False]
    assert rollback(output.folder).to_version == 200
    assert _marked(output) == [False, False, True]


def test_a_calibration_is_gone_back_to_by_its_version(output: Output) -> None:
    output.calibrate(400, 0.5)
    rollback(output.folder, 300)
    assert rollback(output.folder, 400).to_version == 400
    assert _newest(output).threshold == 0.5
    with pytest.raises(SwarError, match="version 400 is served already"):
        rollback(output.folder, 400)


def test_a_copy_does_not_mark_the_models_of_the_original(output: Output, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(output.folder, copy)
    for to in (None, 100):
        with pytest.raises(SwarError, match="copy was moved or copied, its records are of"):
            rollback(copy, to)
    assert _marked(output) == [False, False, False]
    assert list(published_versions(copy)) == [100, 200, 300]


def test_a_link_to_the_folder_is_the_folder(output: Output, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(output.folder)
    assert rollback(tmp_path / "link").to_version == 200
    assert _marked(output) == [False, False, True]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "/out/published; No space left on device"),
    ],
    ids=["of Python", "of TensorFlow"],
)
def test_a_full_disk_is_told(
    output: Output, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> str:
        raise error

    monkeypatch.setattr("pipeline.models.rollback.publish", full)
    with pytest.raises(SwarError, match=f"no space is left on the disk of {output.folder}"):
        rollback(output.folder)


@pytest.mark.parametrize(
    ("to", "message"),
    [(150, r"has no version 150; it has 100, 200, 300"), (300, r"version 300 is served already")],
)
def test_a_wrong_version_changes_nothing(output: Output, to: int, message: str) -> None:
    with pytest.raises(SwarError, match=message):
        rollback(output.folder, to)
    assert list(published_versions(output.folder)) == [100, 200, 300]
    assert _marked(output) == [False, False, False]


def test_not_while_a_run_is_at_work(output: Output) -> None:
    with (output.folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SwarError, match="another run is writing"):
            rollback(output.folder)
    assert _marked(output) == [False, False, False]


def test_one_model_has_nothing_before_it(tmp_path: Path) -> None:
    with pytest.raises(SwarError, match=r"has no metadata\.sqlite: name the output folder"):
        rollback(tmp_path)
    output = Output(tmp_path / "out")
    model = output.train("one")
    with pytest.raises(SwarError, match="has published no model"):
        rollback(output.folder)
    output.publish(model, 100)
    with pytest.raises(SwarError, match="has published no other model"):
        rollback(output.folder)
