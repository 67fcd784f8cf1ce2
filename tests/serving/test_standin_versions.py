"""Loading, warm-up, hot reload, roll-back and labels of versions."""

import asyncio
import concurrent.futures
import contextlib
import os
import shutil
import threading
import time
import weakref

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from components.errors import SwarError
from components.model.digest import write_digests
from serving.standin import store as store_module
from serving.standin.servable import Servable
from serving.standin.store import ModelStore
from tests.serving.support_standin import (
    call,
    floats,
    predict_request,
    served,
    write_model,
    write_warm_up,
)

PREDICT = "/v1/models/swar:predict"
HALF = {"signature_name": "half_plus", "instances": [0.0]}


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Versions 1, 2 and 3; the bias of each is its number."""
    folder = tmp_path_factory.mktemp("ready")
    for version in (1, 2, 3):
        write_model(folder, version)
    return folder


@pytest.fixture
def published(ready, tmp_path):
    """A folder with version 1."""
    folder = tmp_path / "published"
    folder.mkdir()
    publish(ready, folder, 1)
    return folder


def publish(ready, folder, version):
    hidden = folder / f".{version}"
    shutil.copytree(ready / str(version), hidden)
    hidden.rename(folder / str(version))


def answering_version(ports, path=PREDICT):
    """The bias of the version that answers."""
    status, answer = call(ports, path, HALF)
    return int(answer["predictions"][0]) if status == 200 else status


def states(ports):
    _, answer = call(ports, "/v1/models/swar")
    return {int(v["version"]): v["state"] for v in answer["model_version_status"]}


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_the_latest_version_is_served(ready):
    with served(ready) as ports:
        assert answering_version(ports) == 3
        assert states(ports) == {3: "AVAILABLE"}


def test_a_new_version_takes_over_and_no_request_is_lost(ready, published):
    stop = threading.Event()

    def over_rest(ports, seen):
        while not stop.is_set():
            seen.append(answering_version(ports))

    def over_grpc(ports, seen):
        request = predict_request("half_plus", x=floats([0.0]))
        with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stop.is_set():
                response = stub.Predict(request, timeout=30)
                assert response.outputs["y"].float_val[0] == response.model_spec.version.value
                seen.append(response.model_spec.version.value)

    with served(published) as ports, concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers: list[list[int]] = [[], [], [], []]
        traffic = [
            pool.submit(client, ports, seen)
            for client, seen in zip((over_rest, over_grpc) * 2, answers, strict=True)
        ]
        try:
            eventually(lambda: all(answers))
            for version in (2, 3):
                publish(ready, published, version)
                eventually(lambda version=version: states(ports).get(version) == "AVAILABLE")
                eventually(lambda version=version: states(ports)[version - 1] == "END")
                eventually(lambda version=version: all(s[-1:] == [version] for s in answers))
        finally:
            stop.set()
        for client in traffic:
            client.result(30)
        for seen in answers:
            assert seen == sorted(seen)
            assert set(seen) == {1, 2, 3}
        assert states(ports) == {1: "END", 2: "END", 3: "AVAILABLE"}
        assert answering_version(ports, "/v1/models/swar/versions/1:predict") == 404


def test_a_version_finishes_its_requests_before_it_is_unloaded(ready, published):
    with served(published) as ports, concurrent.futures.ThreadPoolExecutor(1) as pool:
        body = {"signature_name": "spin", "instances": [200_000]}
        slow = pool.submit(call, ports, PREDICT, body)
        time.sleep(0.1)
        publish(ready, published, 2)
        eventually(lambda: states(ports).get(2) == "AVAILABLE")
        assert slow.result(60) == (200, {"predictions": [200_000]})
        eventually(lambda: states(ports)[1] == "END")


def test_an_incomplete_version_waits_for_its_graph(ready, published):
    with served(published) as ports:
        shutil.copytree(
            ready / "2", published / "2", ignore=shutil.ignore_patterns("saved_model.pb")
        )
        (published / "notes").mkdir()
        (published / "007").mkdir()
        (published / "9").write_text("no folder")
        time.sleep(0.3)
        assert states(ports) == {1: "AVAILABLE"}
        shutil.copy(ready / "2" / "saved_model.pb", published / "2" / "saved_model.pb")
        eventually(lambda: answering_version(ports) == 2)


def test_a_broken_version_is_told_and_the_old_one_serves_on(ready, published):
    with served(published) as ports:
        broken = published / ".2"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"no graph")
        broken.rename(published / "2")
        eventually(lambda: states(ports).get(2) == "END")
        _, answer = call(ports, "/v1/models/swar/versions/2")
        (status,) = answer["model_version_status"]
        assert status["status"]["error_code"] != "OK"
        assert "saved_model.pb" in status["status"]["error_message"]
        assert answering_version(ports) == 1
        assert states(ports)[1] == "AVAILABLE"
        shutil.rmtree(published / "2")
        publish(ready, published, 2)
        eventually(lambda: answering_version(ports) == 2)
        eventually(lambda: states(ports) == {1: "END", 2: "AVAILABLE"})


def test_a_version_that_is_not_what_was_published_is_not_served(ready, published):
    with served(published) as ports:
        hidden = published / ".2"
        shutil.copytree(ready / "2", hidden)
        write_digests(hidden)
        write_warm_up(hidden, [("half_plus", "x", floats([1.0]))])
        hidden.rename(published / "2")
        eventually(lambda: states(ports).get(2) == "END")
        _, answer = call(ports, "/v1/models/swar/versions/2")
        message = answer["model_version_status"][0]["status"]["error_message"]
        assert "not what was published" in message
        assert answering_version(ports) == 1


def test_a_version_that_is_still_being_copied_is_served_once_it_is_whole(ready, published):
    with served(published) as ports:
        variables = shutil.ignore_patterns("variables")
        shutil.copytree(ready / "2", published / "2", ignore=variables)
        eventually(lambda: states(ports).get(2) == "END")
        shutil.copytree(ready / "2" / "variables", published / "2" / "variables")
        eventually(lambda: answering_version(ports) == 2)


def test_removing_the_latest_version_rolls_back(ready, published):
    publish(ready, published, 2)
    with served(published) as ports:
        assert answering_version(ports) == 2
        (published / "2").rename(published / ".gone")
        eventually(lambda: answering_version(ports) == 1)
        eventually(lambda: states(ports) == {1: "AVAILABLE", 2: "END"})


def test_an_emptied_folder_leaves_the_model_served(published):
    with served(published) as ports:
        shutil.rmtree(published)
        time.sleep(0.2)
        assert answering_version(ports) == 1


def test_labels_keep_their_versions(ready):
    with served(ready, labels={"stable": 1, "canary": 3}) as ports:
        assert states(ports) == {1: "AVAILABLE", 3: "AVAILABLE"}
        assert answering_version(ports) == 3
        assert answering_version(ports, "/v1/models/swar/labels/stable:predict") == 1
        assert answering_version(ports, "/v1/models/swar/labels/canary:predict") == 3
        assert answering_version(ports, "/v1/models/swar/versions/1:predict") == 1


def test_moving_a_label_loads_its_version(ready):
    with served(ready, labels={"stable": 1}, allow_reload=True) as ports:
        request = model_management_pb2.ReloadConfigRequest()
        config = request.config.model_config_list.config.add(name="swar")
        config.version_labels["stable"] = 2
        with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
            model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
                request, timeout=30
            )
        assert answering_version(ports, "/v1/models/swar/labels/stable:predict") == 2
        eventually(lambda: states(ports) == {1: "END", 2: "AVAILABLE", 3: "AVAILABLE"})


def test_warm_up_requests_run_before_the_version_answers(published):
    write_warm_up(
        published / "1", [("", "audio", [b"abc"]), ("half_plus", "x", floats([1.0, 2.0]))]
    )
    servable = Servable(1, published / "1")
    assert servable.warm_up() == 2
    servable.close()


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (("nope", "audio", [b"abc"]), "nope"),
        (("", "audio", floats([1.0])), "string"),
        (("number", "text", [b"one"]), "one"),
    ],
)
def test_a_version_whose_warm_up_fails_is_not_served(ready, published, request_, told):
    with served(published) as ports:
        hidden = published / ".2"
        shutil.copytree(ready / "2", hidden)
        write_warm_up(hidden, [request_])
        hidden.rename(published / "2")
        eventually(lambda: states(ports).get(2) == "END")
        _, answer = call(ports, "/v1/models/swar/versions/2")
        assert told in answer["model_version_status"][0]["status"]["error_message"]
        assert answering_version(ports) == 1


def test_warm_up_records_have_a_limit(published):
    write_warm_up(published / "1", [("half_plus", "x", floats([1.0]))] * 1_001)
    servable = Servable(1, published / "1")
    with pytest.raises(tf.errors.InvalidArgumentError, match="1000"):
        servable.warm_up()
    servable.close()


def test_an_unloaded_version_is_freed(published):
    servable = Servable(1, published / "1")
    graph = weakref.ref(servable._session.graph)
    servable.close()
    assert graph() is None


def refusal(folder, **settings):
    with pytest.raises(SwarError) as caught, served(folder, **settings):
        pass
    return str(caught.value)


def test_a_folder_without_a_model(tmp_path):
    assert "no <version>/saved_model.pb" in refusal(tmp_path)
    assert "no <version>/saved_model.pb" in refusal(tmp_path / "missing")


@pytest.mark.parametrize("name", ["m [x]", "a\\b", os.fsdecode(b"v\xff")])
def test_a_path_that_tensorflow_does_not_find(ready, tmp_path, name):
    shutil.copytree(ready / "1", tmp_path / name / "1")
    told = refusal(tmp_path / name)
    assert "/1' cannot be read by TensorFlow" in told
    assert told.endswith(": rename the folder")


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b"])
def test_other_odd_paths_are_served(ready, tmp_path, name):
    shutil.copytree(ready / "1", tmp_path / name / "1")
    with served(tmp_path / name) as ports:
        assert answering_version(ports) == 1


def test_a_label_without_its_version(published):
    told = refusal(published, labels={"canary": 7})
    assert "label canary" in told
    assert "version 7" in told
    assert "has 1" in told


def test_a_first_version_that_is_broken(published):
    (published / "1" / "saved_model.pb").write_bytes(b"no graph")
    assert "version 1" in refusal(published)


def test_a_version_that_is_served_alone_stays(ready, published):
    publish(ready, published, 2)
    with served(published, version=1) as ports:
        publish(ready, published, 3)
        time.sleep(0.3)  # the folder was looked at six times
        assert answering_version(ports) == 1
        assert states(ports) == {1: "AVAILABLE"}
    with (
        pytest.raises(SwarError, match="label stable names version 2"),
        served(published, version=1, labels={"stable": 2}),
    ):
        pass


def test_a_version_whose_caller_has_gone_is_loaded_all_the_same(ready, monkeypatch):
    """Left half loaded, it would stay in memory, and say for ever that it is being loaded."""
    load = store_module._load_warm
    loading, goes_on = threading.Event(), threading.Event()

    def slow(number, folder):
        loading.set()
        assert goes_on.wait(30)
        return load(number, folder)

    async def moved():
        async with ModelStore(ready, "swar", {}, 60.0) as store:
            monkeypatch.setattr(store_module, "_load_warm", slow)
            moving = asyncio.create_task(store.set_labels({"stable": 1}))
            await asyncio.to_thread(loading.wait)
            moving.cancel()
            goes_on.set()
            with contextlib.suppress(asyncio.CancelledError):
                await moving
            stable = model_pb2.ModelSpec(name="swar", version_label="stable")
            for _ in range(600):
                with (
                    contextlib.suppress(tf.errors.InvalidArgumentError),
                    store.use(stable) as found,
                ):
                    return found.version
                await asyncio.sleep(0.05)
        return None

    assert asyncio.run(moved()) == 1
