"""A model that does not answer from a server as it did when it was trained is not published."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tfx.types import standard_artifacts

from components.errors import SwarError
from components.model.files import GOLDEN_ANSWERS, MODEL_CARD, WARMUP_REQUESTS
from components.serving_check import check
from components.serving_check.executor import Executor
from components.serving_check.served_answers import faults
from tests.components.model.support_exported import FRONT_END, exported

GRAPH = "saved_model.pb"
HANN = TensorShapeProto.Dim(size=FRONT_END.spectrogram.n_fft)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "Format-Serving"
    exported(folder, "pooled")
    return folder


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model" / "Format-Serving"
    shutil.copytree(model, folder)
    return folder


def change_graph(folder: Path, change: Callable[[saved_model_pb2.SavedModel], None]) -> None:
    saved = saved_model_pb2.SavedModel.FromString((folder / GRAPH).read_bytes())
    change(saved)
    (folder / GRAPH).write_bytes(saved.SerializeToString())


def without_embed(saved: saved_model_pb2.SavedModel) -> None:
    del saved.meta_graphs[0].signature_def["embed"]


def with_another_window(saved: saved_model_pb2.SavedModel) -> None:
    """Another front end: its spectra are of a rectangular window in the place of Hann's."""
    changed = 0
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op != "Const" or node.attr["value"].tensor.tensor_shape.dim != [HANN]:
                continue
            rectangle = tf.make_tensor_proto(np.ones(HANN.size, np.float32))
            node.attr["value"].tensor.CopyFrom(rectangle)
            changed += 1
    assert changed


def change_weights(folder: Path) -> None:
    """Writes all variables anew, one of the tower's matrices with noise in it."""
    prefix = str(folder / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    names = sorted(reader.get_variable_to_shape_map())
    values = {name: reader.get_tensor(name) for name in names}
    largest = max(names, key=lambda name: np.size(values[name]))
    noise = np.random.default_rng(0).standard_normal(values[largest].shape)
    values[largest] = values[largest] + noise.astype(np.float32)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[values[name] for name in names],
    )


def golden(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The outputs that are expected, by signature."""
    records = tf.data.TFRecordDataset(str(folder / GOLDEN_ANSWERS)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record).predict_log for record in records]
    return {
        log.request.model_spec.signature_name: {
            name: tf.make_ndarray(value) for name, value in log.response.outputs.items()
        }
        for log in logs
    }


def test_golden_answers_tell_two_speakers_and_refusals(model: Path) -> None:
    expected = golden(model)
    assert set(expected) == {
        "serving_default", "embed", "score_embeddings", "score_pairs", "describe",
    }  # fmt: skip
    assert expected["embed"]["status"].tolist() == [b"ok", b"ok", b"silent", b"not_wav"]
    first, second = expected["embed"]["embedding"][:2]
    assert np.linalg.norm(first - second) > 0
    assert np.isnan(expected["embed"]["embedding"][2:]).all()
    assert expected["serving_default"]["status_a"].tolist() == [b"ok", b"ok", b"silent"]
    assert (model / GOLDEN_ANSWERS).stat().st_size < 2**20


def test_a_sound_model_is_blessed(model: Path, tmp_path: Path) -> None:
    artifact, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
    artifact.uri, blessing.uri = str(model.parent), str(tmp_path / "blessing")
    Executor().Do({"model": [artifact]}, {"infra_blessing": [blessing]}, {})
    assert blessing.get_int_custom_property("blessed") == 1
    assert os.listdir(blessing.uri) == ["INFRA_BLESSED"]


def test_a_model_without_a_signature_ends_the_run_unblessed(copy: Path, tmp_path: Path) -> None:
    change_graph(copy, without_embed)
    artifact, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
    artifact.uri, blessing.uri = str(copy.parent), str(tmp_path / "blessing")
    with pytest.raises(SwarError, match="embed: there is no such signature") as raised:
        Executor().Do({"model": [artifact]}, {"infra_blessing": [blessing]}, {})
    assert "\n" not in str(raised.value)
    assert not Path(blessing.uri).exists()
    assert not blessing.has_custom_property("blessed")


def test_damaged_weights_are_not_loaded(copy: Path) -> None:
    (data,) = (copy / "variables").glob("variables.data-*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    (fault,) = faults(str(copy))
    assert fault.startswith("it cannot be loaded")


def test_other_weights_answer_otherwise(copy: Path) -> None:
    change_weights(copy)
    assert "embed: embedding differs" in " ".join(faults(str(copy)))


def test_another_front_end_answers_otherwise(copy: Path) -> None:
    change_graph(copy, with_another_window)
    found = list(faults(str(copy)))
    assert {fault.split(":")[0] for fault in found} >= {"serving_default", "embed"}
    # What takes no recording is as it was.
    assert not {fault.split(":")[0] for fault in found} & {"score_pairs", "score_embeddings"}


@pytest.mark.parametrize("name", [WARMUP_REQUESTS, GOLDEN_ANSWERS, MODEL_CARD])
def test_what_lies_beside_the_graph_is_needed(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert any(Path(name).name in fault for fault in faults(str(copy)))


def test_the_card_is_the_graphs(copy: Path) -> None:
    (copy / MODEL_CARD).write_text('{"sample_rate": 8000}')
    assert any("is of another model" in fault for fault in faults(str(copy)))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.kill(os.getpid(), 11)", "ended with -11"),
        ("raise ValueError('odd')", "ended with 1: ValueError: odd"),
    ],
)
def test_a_process_that_dies_is_no_blessing(
    program: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_PROGRAM", program)
    with pytest.raises(SwarError, match=message):
        check.check_served("/nowhere")


def test_a_process_that_hangs_is_no_blessing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(check, "_MOST_SECONDS", 0.5)
    with pytest.raises(SwarError, match=r"no answer within 0.5 s"):
        check.check_served("/nowhere")
