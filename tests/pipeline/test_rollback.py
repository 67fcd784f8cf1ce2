"""Going back to a model that was published before."""

import fcntl
import re
import time
from pathlib import Path

import pytest

from components.errors import SwarError
from components.pusher.publish import publish
from components.rolled_back import is_rolled_back, rolled_back_at
from pipeline.records import published_versions
from pipeline.rollback import rollback
from tests.pipeline.support_records import Output


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Three models, published in this order: one, two, three."""
    made = Output(tmp_path / "out")
    for version, digest in ((100, "one"), (200, "two"), (300, "three")):
        made.publish(made.train(digest), version)
    return made


def _served(output: Output) -> str:
    versions = published_versions(output.folder)
    return versions[max(versions)]


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
        patch.setattr("pipeline.rollback.publish", killed)
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


def test_the_mark_outlives_the_artifacts_folder(output: Output) -> None:
    *_, three = sorted(output.store.get_artifacts_by_type("Model"), key=lambda item: int(item.id))
    for path in sorted(Path(three.uri).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(three.uri).rmdir()
    rollback(output.folder)
    at = rolled_back_at(three.uri)
    assert at is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at)


@pytest.mark.parametrize(
    ("to", "told"),
    [(150, r"has no version 150; it has 100, 200, 300"), (300, r"version 300 is served already")],
)
def test_a_wrong_version_changes_nothing(output: Output, to: int, told: str) -> None:
    with pytest.raises(SwarError, match=told):
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
