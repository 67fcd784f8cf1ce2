"""A published version is complete or absent, and never the same twice in a row."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.errors import SwarError
from components.model.digest import DIGESTS, check_digests
from components.pusher import publish as publish_module
from components.pusher.executor import Executor
from components.pusher.publish import publish
from components.rolled_back import clear_rolled_back, mark_rolled_back

ROOT = Path(__file__).parents[3]

# Publishes, but says so and stalls as soon as saved_model.pb is half written.
STALLING_PUSH = """
import sys, time
from tfx.dsl.io import fileio
from components.pusher import publish

def stall(source, destination, overwrite=False):
    with open(source, "rb") as read, open(destination, "wb") as write:
        content = read.read()
        stalls = source.endswith(sys.argv[3])
        write.write(content[: len(content) // 2] if stalls else content)
    if stalls:
        print("stalled", flush=True)
        time.sleep(600)

fileio.copy = stall
publish.publish(sys.argv[1], sys.argv[2])
"""


def _model(directory, weights=b"weights"):
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"graph" * 1_000)
    (directory / "variables" / "variables.data-00000-of-00001").write_bytes(weights)
    (directory / "assets.extra").mkdir()
    (directory / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"request")
    return directory


def _contents(directory):
    """All but what publishing adds."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in Path(directory).rglob("*")
        if path.is_file() and path != Path(directory, DIGESTS)
    }


def _versions(base):
    return sorted((name for name in os.listdir(base) if name.isdecimal()), key=int)


def test_publishes_every_file_under_a_version(tmp_path):
    model = _model(tmp_path / "model")
    before = int(time.time())
    destination = publish(str(model), str(tmp_path / "push"))
    assert _contents(destination) == _contents(model)
    assert before <= int(os.path.basename(destination)) <= time.time()
    assert os.listdir(tmp_path / "push") == [os.path.basename(destination)]


def test_a_version_has_the_digests_that_sha256sum_checks(tmp_path):
    destination = publish(str(_model(tmp_path / "model")), str(tmp_path / "push"))
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", DIGESTS], cwd=destination, capture_output=True
    )
    assert checked.returncode == 0
    assert len(checked.stdout.splitlines()) == len(_contents(destination))
    check_digests(Path(destination))


def test_a_version_that_was_changed_is_not_published_again(tmp_path):
    base = str(tmp_path / "push")
    first = publish(str(_model(tmp_path / "one")), base)
    second = publish(str(_model(tmp_path / "two", weights=b"two")), base)
    Path(first, "assets.extra", "tf_serving_warmup_requests").write_bytes(b"another")
    with pytest.raises(SwarError, match="not what was published"):
        publish(first, base)
    assert _versions(base) == sorted(map(os.path.basename, (first, second)), key=int)


def test_the_same_model_is_published_once(tmp_path):
    base = tmp_path / "push"
    first = publish(str(_model(tmp_path / "one")), str(base))
    again = publish(str(_model(tmp_path / "same")), str(base))
    assert again == first
    assert len(_versions(base)) == 1


def test_versions_rise_within_one_second(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_000.9)
    base = tmp_path / "push"
    models = [_model(tmp_path / str(index), weights=bytes([index])) for index in range(3)]
    paths = [publish(str(model), str(base)) for model in models]
    assert [os.path.basename(path) for path in paths] == ["1000", "1001", "1002"]
    # Going back to an older model is a new version, which is then the newest.
    assert os.path.basename(publish(str(models[0]), str(base))) == "1003"


@pytest.mark.parametrize("stalls_at", ["saved_model.pb", "variables.data-00000-of-00001"])
def test_a_killed_push_leaves_no_version_and_the_next_one_cleans_up(tmp_path, stalls_at):
    model, base = _model(tmp_path / "model"), tmp_path / "push"
    kept = publish(str(_model(tmp_path / "older", weights=b"older")), str(base))
    push = subprocess.Popen(
        [sys.executable, "-c", STALLING_PUSH, str(model), str(base), stalls_at],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert push.stdout is not None
    assert push.stdout.readline() == "stalled\n"
    push.send_signal(signal.SIGKILL)
    push.wait()
    push.stdout.close()
    assert _versions(base) == [os.path.basename(kept)]
    assert len(os.listdir(base)) == 2

    destination = publish(str(model), str(base))
    assert _contents(destination) == _contents(model)
    assert sorted(os.listdir(base)) == sorted(map(os.path.basename, (kept, destination)))


def test_a_version_cut_short_on_an_object_store_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(publish_module, "_renames_directories", lambda path: False)
    model, base = _model(tmp_path / "model"), tmp_path / "push"
    (base / "5" / "variables").mkdir(parents=True)
    order = []
    copy = fileio.copy

    def noted_copy(source, destination, overwrite=False):
        order.append(os.path.basename(source))
        copy(source, destination, overwrite)

    monkeypatch.setattr(fileio, "copy", noted_copy)
    destination = publish(str(model), str(base))
    assert order[-1] == "saved_model.pb"
    assert _contents(destination) == _contents(model)
    assert _versions(base) == [os.path.basename(destination)]


@pytest.mark.parametrize(
    ("path", "renames"),
    [("/data", True), ("relative", True), ("hdfs://host/a", True), ("gs://b/a", False)],
)
def test_which_file_systems_rename_directories(path, renames):
    assert publish_module._renames_directories(path) is renames


def _push(tmp_path, model_directory, base, blessed, infra_blessings=(True,)):
    model = standard_artifacts.Model()
    model.uri = str(model_directory)
    blessing = standard_artifacts.ModelBlessing()
    blessing.uri = str(tmp_path / "blessing")
    blessing.set_int_custom_property("blessed", int(blessed))
    (tmp_path / "blessing").mkdir(exist_ok=True)
    (tmp_path / "blessing" / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    infra = [standard_artifacts.InfraBlessing() for _ in infra_blessings]
    for artifact, is_blessed in zip(infra, infra_blessings, strict=True):
        artifact.set_int_custom_property("blessed", int(is_blessed))
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed_model")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(base))
    )
    Executor().Do(
        {"model": [model], "model_blessing": [blessing], "infra_blessing": infra},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return pushed


def test_executor_marks_the_artifact_with_the_destination(tmp_path):
    model_directory, base = tmp_path / "model", tmp_path / "push"
    serving = _model(model_directory / "Format-Serving")
    pushed = _push(tmp_path, model_directory, base, blessed=True)
    destination = pushed.get_string_custom_property("pushed_destination")
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == os.path.basename(destination)
    assert _contents(destination) == _contents(serving) == _contents(pushed.uri)

    again = _push(tmp_path, model_directory, base, blessed=True)
    assert again.get_int_custom_property("pushed") == 1
    assert again.get_string_custom_property("pushed_destination") == destination
    assert len(_versions(base)) == 1


def test_executor_does_not_push_what_was_rolled_back(tmp_path):
    model_directory, base = tmp_path / "model", tmp_path / "push"
    _model(model_directory / "Format-Serving")
    mark_rolled_back(str(model_directory), "2026-01-02T03:04:05Z")
    pushed = _push(tmp_path, model_directory, base, blessed=True)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not base.exists()
    clear_rolled_back(str(model_directory))
    assert _push(tmp_path, model_directory, base, True).get_int_custom_property("pushed") == 1


def test_executor_does_not_push_without_a_blessing(tmp_path):
    _model(tmp_path / "model" / "Format-Serving")
    pushed = _push(tmp_path, tmp_path / "model", tmp_path / "push", blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "push").exists()


def test_executor_does_not_push_what_no_server_answers_from(tmp_path):
    _model(tmp_path / "model" / "Format-Serving")
    arguments = (tmp_path, tmp_path / "model", tmp_path / "push")
    pushed = _push(*arguments, blessed=True, infra_blessings=(False,))
    assert pushed.get_int_custom_property("pushed") == 0
    with pytest.raises(SwarError, match="no infra_blessing"):
        _push(*arguments, blessed=True, infra_blessings=())
    assert not (tmp_path / "push").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_among_the_versions_is_told(tmp_path, kind):
    model = _model(tmp_path / "model")
    (tmp_path / "base").mkdir()
    version = tmp_path / "base" / "12"
    version.write_text("mine") if kind == "file" else version.symlink_to(tmp_path / "gone")
    with pytest.raises(SwarError, match=r"base/12 is no version of a model, and no folder"):
        publish(str(model), str(tmp_path / "base"))
    assert version.is_symlink() or version.read_text() == "mine"
