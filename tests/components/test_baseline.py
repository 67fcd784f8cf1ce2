"""Which model is the baseline, and that an identical second run is fully cached."""

import json
import os
import shutil

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.types.standard_artifacts import InfraBlessing, Model, ModelBlessing

from components.baseline import LatestOtherBlessedModelStrategy
from components.model.files import MODEL_CARD
from components.pusher.component import Pusher
from components.rolled_back import mark_rolled_back

COMPLETE, CACHED = "COMPLETE", "CACHED"


def _model(artifact_id, folder, n_mels=64, codec="zlib"):
    artifact = Model()
    artifact.id = artifact_id
    artifact.uri = str(folder / str(artifact_id))
    card = folder / str(artifact_id) / "Format-Serving" / MODEL_CARD
    card.parent.mkdir(parents=True)
    spectrogram = {"spectrogram": {"n_mels": n_mels}, "spectrogram_codec": codec}
    card.write_text(json.dumps({"sample_rate": 16_000, **spectrogram}))
    return artifact


def _blessing(model_id, blessed=1):
    artifact = ModelBlessing()
    artifact.set_int_custom_property("current_model_id", model_id)
    artifact.set_int_custom_property("blessed", blessed)
    return artifact


@pytest.mark.parametrize(
    ("candidate", "blessed", "refused", "expected"),
    [
        (3, [1, 2], [3], [2]),
        (3, [1, 2, 3], [], [2]),  # repeated run: itself is blessed by now
        (1, [1, 2], [3], [2]),  # back to older settings
        (1, [1], [2, 3], []),
        (3, [], [1, 2], []),
    ],
)
def test_latest_blessed_other_model(candidate, blessed, refused, expected, tmp_path):
    models = {number: _model(number, tmp_path) for number in (2, 3, 1)}
    blessings = [_blessing(i) for i in blessed] + [_blessing(i, blessed=0) for i in refused]
    resolved = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None,
        {
            "model": list(models.values()),
            "model_blessing": blessings,
            "candidate": [models[candidate]],
        },
    )
    assert [model.id for model in resolved["model"]] == expected
    resolved_blessings = [
        blessing.get_int_custom_property("current_model_id")
        for blessing in resolved["model_blessing"]
    ]
    assert resolved_blessings == expected
    assert [model.id for model in resolved["candidate"]] == [candidate]


def test_models_of_other_windows_gone_or_rolled_back_are_no_baseline(tmp_path):
    kept, candidate = _model(1, tmp_path), _model(5, tmp_path)
    other, gone = _model(2, tmp_path, n_mels=40), _model(3, tmp_path)
    shutil.rmtree(gone.uri)
    taken_back, packed_otherwise = _model(4, tmp_path), _model(6, tmp_path, codec="png")
    mark_rolled_back(taken_back.uri, "2026-01-02T03:04:05Z")
    resolved = LatestOtherBlessedModelStrategy().resolve_artifacts(
        None,
        {
            "model": [kept, other, gone, taken_back, packed_otherwise, candidate],
            "model_blessing": [_blessing(number) for number in (1, 2, 3, 4, 6)],
            "candidate": [candidate],
        },
    )
    assert resolved["model"] == [kept]


@tfx.dsl.components.component
def train(
    model: tfx.dsl.components.OutputArtifact[Model], graph: tfx.dsl.components.Parameter[str]
):
    """Writes what stands for a SavedModel."""
    serving = os.path.join(model.uri, "Format-Serving")
    os.makedirs(os.path.join(serving, "assets.extra"))
    with open(os.path.join(serving, "assets.extra", "swar.json"), "w") as file:
        file.write('{"sample_rate": 16000, "spectrogram": {}}')
    with open(os.path.join(serving, "saved_model.pb"), "w") as file:
        file.write(graph)


@tfx.dsl.components.component
def bless(
    candidate: tfx.dsl.components.InputArtifact[Model],
    blessing: tfx.dsl.components.OutputArtifact[ModelBlessing],
    baseline: tfx.dsl.components.InputArtifact[Model] = None,
):
    """Blesses every model, and notes the baseline that it was given."""
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_int_custom_property("current_model_id", candidate.id)
    blessing.set_int_custom_property("baseline_model_id", baseline.id if baseline else 0)
    with open(os.path.join(blessing.uri, "BLESSED"), "w"):
        pass


@tfx.dsl.components.component
def serve(
    model: tfx.dsl.components.InputArtifact[Model],
    infra_blessing: tfx.dsl.components.OutputArtifact[InfraBlessing],
):
    """Blesses every model."""
    infra_blessing.set_int_custom_property("blessed", 1)


def _run(root, graph):
    """Runs the small pipeline; returns its new executions: {component: state}."""
    connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.db"))
    trainer = train(graph=graph)
    resolver = Resolver(
        strategy_class=LatestOtherBlessedModelStrategy,
        model=tfx.dsl.Channel(type=Model),
        model_blessing=tfx.dsl.Channel(type=ModelBlessing),
        candidate=trainer.outputs["model"],
    ).with_id("baseline")
    evaluator = bless(candidate=trainer.outputs["model"], baseline=resolver.outputs["model"])
    served = serve(model=trainer.outputs["model"])
    pusher = Pusher(
        trainer.outputs["model"],
        evaluator.outputs["blessing"],
        served.outputs["infra_blessing"],
        str(root / "published"),
    )
    before = _executions(connection)
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="small",
            pipeline_root=str(root / "small"),
            metadata_connection_config=connection,
            components=[trainer, resolver, evaluator, served, pusher],
            enable_cache=True,
        )
    )
    after = _executions(connection)
    return {name: state for key, (name, state) in after.items() if key not in before}


def _executions(connection):
    with metadata.Metadata(connection) as handle:
        names = {kind.id: kind.name for kind in handle.store.get_execution_types()}
        return {
            execution.id: (
                names[execution.type_id].rpartition(".")[-1],
                metadata_store_pb2.Execution.State.Name(execution.last_known_state),
            )
            for execution in handle.store.get_executions()
        }


def test_an_identical_run_is_cached_to_the_end(tmp_path):
    first = _run(tmp_path, "one")
    assert first == dict.fromkeys(("train", "Resolver", "bless", "serve", "Pusher"), COMPLETE)
    # TFX records a resolver as complete whatever it resolves.
    repeated = dict.fromkeys(first, CACHED) | {"Resolver": COMPLETE}
    assert _run(tmp_path, "one") == repeated

    changed = _run(tmp_path, "two")
    assert changed == first
    assert _run(tmp_path, "two") == repeated
    published = sorted((tmp_path / "published").iterdir(), key=lambda path: int(path.name))
    assert [(path / "saved_model.pb").read_text() for path in published] == ["one", "two"]

    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))
    with metadata.Metadata(connection) as handle:
        blessings = handle.store.get_artifacts_by_type("ModelBlessing")
        models = handle.store.get_artifacts_by_type("Model")
    baselines = [b.custom_properties["baseline_model_id"].int_value for b in blessings]
    assert baselines == [0, models[0].id]
