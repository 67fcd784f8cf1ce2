"""What is compiled, read back with the protos of Kubeflow and of Google Cloud."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from google.cloud import aiplatform, aiplatform_v1
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import (
    ParameterType,
    PipelineDeploymentConfig,
    PipelineSpec,
)
from ruamel.yaml import YAML
from tfx.extensions.google_cloud_ai_platform import constants, training_clients
from tfx.extensions.google_cloud_ai_platform.trainer.executor import TRAINING_ARGS_KEY
from tfx.utils import import_utils, json_utils

from components.errors import SwarError
from components.recordings.sources import data_digest, list_recordings
from components.settings import AugmentationSettings
from components.spectrogram_pair_gen.recorded_sounds import sounds_digest
from pipeline.engines.compiler import compile_pipeline, run_parameters
from tests.pipeline.engines.support_engines import (
    COMMON,
    IMAGE,
    KUBEFLOW,
    VERTEX,
    compiled,
    config,
    constant,
    executors,
)

CONTAINERS = {
    "SpeechExampleGen", "SpectrogramPairGen", "ImportSchemaGen", "StatisticsGen",
    "ExampleValidator", "Trainer", "ServingCheck", "Evaluator", "Pusher", "VerificationReport",
}  # fmt: skip
RESOLVERS = {"Baseline-model-blessing-resolver", "Baseline-model-resolver"}
CUSTOM_JOB = (*VERTEX, "engine.training.machine_type=n1-standard-16", "engine.training.gpus=4")
ENDPOINT = (
    *VERTEX,
    "engine.vertex.endpoint.name=voices",
    "engine.vertex.endpoint.serving_image=registry.example/tf-serving:1",
)


@pytest.fixture(scope="module")
def vertex(tmp_path_factory: pytest.TempPathFactory) -> PipelineSpec:
    return compiled(tmp_path_factory.mktemp("vertex"), *VERTEX)


def test_every_component_is_a_task_of_the_image(vertex: PipelineSpec) -> None:
    assert set(vertex.root.dag.tasks) == CONTAINERS | RESOLVERS
    for name in CONTAINERS:
        container = executors(vertex)[name].container
        assert container.image == IMAGE
        assert list(container.command) == [
            "python", "-m", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
        ]  # fmt: skip
        arguments = list(container.args)
        path = arguments[arguments.index("--executor_class_path") + 1]
        assert import_utils.import_class_by_path(path).__name__ == "Executor"
        assert vertex.root.dag.tasks[name].caching_options.enable_cache


def test_the_name_and_the_schema_version_are_what_the_engines_read(vertex: PipelineSpec) -> None:
    assert vertex.pipeline_info.name == "swar-demo"
    assert vertex.schema_version == "2.1.0"


def test_runtime_parameters_are_the_data_and_the_epochs(vertex: PipelineSpec) -> None:
    kinds = ParameterType
    definitions = vertex.root.input_definitions.parameters
    assert {name: parsed.parameter_type for name, parsed in definitions.items()} == {
        "data": kinds.STRING, "data_digest": kinds.STRING, "sounds_digest": kinds.STRING,
        "epochs": kinds.NUMBER_INTEGER,
    }  # fmt: skip
    taken = {
        (task, given.component_input_parameter)
        for task, parsed in vertex.root.dag.tasks.items()
        for given in parsed.inputs.parameters.values()
        if given.component_input_parameter
    }
    # The digest is an input of what depends on the data: the cache is never that of others.
    assert taken == {
        ("SpeechExampleGen", "data"), ("SpeechExampleGen", "data_digest"),
        ("SpectrogramPairGen", "sounds_digest"),
        ("Trainer", "data_digest"), ("Trainer", "epochs"),
    }  # fmt: skip


def test_their_values_follow_the_data(tmp_path: Path) -> None:
    (tmp_path / "asha").mkdir()
    (tmp_path / "asha" / "a.wav").write_bytes(b"RIFF")
    first = run_parameters(config("trainer.epochs=9"), str(tmp_path))
    assert first == {
        "data": str(tmp_path),
        "data_digest": data_digest(list_recordings(str(tmp_path))),
        "sounds_digest": sounds_digest(AugmentationSettings()),
        "epochs": 9,
    }
    (tmp_path / "asha" / "b.wav").write_bytes(b"RIFF")
    assert run_parameters(config(), str(tmp_path))["data_digest"] != first["data_digest"]


def test_recorded_sounds_are_listed_as_the_data_are(tmp_path: Path) -> None:
    for name in ("data/asha", "noise"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data" / "asha" / "a.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "noise" / "a.wav", np.ones(100), 8_000)
    noisy = config(
        "pairs.augmentation.noise_probability=0.5",
        f"pairs.augmentation.noise_folder={tmp_path / 'noise'}",
    )
    first = run_parameters(noisy, str(tmp_path / "data"))
    soundfile.write(tmp_path / "noise" / "a.wav", np.ones(200), 8_000)
    second = run_parameters(noisy, str(tmp_path / "data"))
    assert {key for key in first if first[key] != second[key]} == {"sounds_digest"}


def test_tasks_get_a_folder_of_sounds_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy = ("pairs.augmentation.noise_probability=0.5", "pairs.augmentation.noise_folder=noise")
    spec = compiled(tmp_path, *KUBEFLOW, *noisy)
    parsed = json.loads(constant(spec, "SpectrogramPairGen", "pair_settings"))
    assert parsed["augmentation"]["noise_folder"] == str(tmp_path / "noise")


def test_on_vertex_the_baseline_is_the_last_blessed_model(vertex: PipelineSpec) -> None:
    resolvers = {name: executors(vertex)[name].resolver for name in RESOLVERS}
    blessing, model = (
        resolvers[name].output_artifact_queries[key].filter
        for name, key in zip(sorted(RESOLVERS), ("model_blessing", "model"), strict=True)
    )
    assert blessing == (
        'schema_title="tfx.ModelBlessing" AND state=LIVE AND metadata.blessed.number_value=1'
    )
    assert "$.inputs.artifacts['input'].metadata['current_model_id']" in model
    source = vertex.root.dag.tasks["Evaluator"].inputs.artifacts["baseline_model"]
    assert source.task_output_artifact.producer_task == "Baseline-model-resolver"


def test_kubeflow_gets_no_resolver_but_an_importer_where_a_baseline_is_named(
    tmp_path: Path,
) -> None:
    spec = compiled(tmp_path, *KUBEFLOW)
    assert set(spec.root.dag.tasks) == CONTAINERS
    assert "baseline_model" not in spec.root.dag.tasks["Evaluator"].inputs.artifacts
    spec = compiled(tmp_path, *KUBEFLOW, "engine.kubeflow.baseline=gs://voices/run/1/model")
    assert set(spec.root.dag.tasks) == CONTAINERS | {"Baseline"}
    imported = executors(spec)["Baseline"].importer.artifact_uri.constant.string_value
    assert imported == "gs://voices/run/1/model"
    source = spec.root.dag.tasks["Evaluator"].inputs.artifacts["baseline_model"]
    assert source.task_output_artifact.producer_task == "Baseline"


@pytest.mark.parametrize(
    ("settings", "kind"), [(VERTEX, "NVIDIA_TESLA_T4"), (KUBEFLOW, "nvidia.com/gpu")]
)
def test_the_trainer_gets_gpus_and_the_others_do_not(
    tmp_path: Path, settings: tuple[str, ...], kind: str
) -> None:
    spec = compiled(
        tmp_path, *settings, "engine.training.gpus=2", "engine.tasks.memory_gigabytes=7.5"
    )
    for name in CONTAINERS:
        resources = executors(spec)[name].container.resources
        if name == "Trainer":
            assert (resources.cpu_limit, resources.memory_limit) == (8.0, 32.0)
            assert (resources.accelerator.type, resources.accelerator.count) == (kind, 2)
        else:
            assert (resources.cpu_limit, resources.memory_limit) == (4.0, 7.5)
            assert not resources.HasField("accelerator")


@pytest.mark.parametrize("settings", [VERTEX, KUBEFLOW])
def test_the_trainer_alone_gets_the_image_with_cuda(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    with_cuda = f"registry.example/swar-gpu@sha256:{'cd' * 32}"
    spec = compiled(tmp_path, *settings, f"engine.training.image={with_cuda}")
    images = {name: executors(spec)[name].container.image for name in CONTAINERS}
    assert images.pop("Trainer") == with_cuda
    assert set(images.values()) == {IMAGE}


@pytest.mark.parametrize("settings", [VERTEX, KUBEFLOW])
def test_a_search_trains_on_the_gpus_too_and_hands_its_values_to_the_trainer(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    with_cuda = f"registry.example/swar-gpu@sha256:{'cd' * 32}"
    spec = compiled(tmp_path, *settings, "tuner.trials=3", f"engine.training.image={with_cuda}")
    container = executors(spec)["Tuner"].container
    assert container.image == with_cuda
    assert container.resources == executors(spec)["Trainer"].container.resources
    assert "components.trainer.tuning.Executor" in container.args
    assert spec.root.dag.tasks["Tuner"].retry_policy.max_retry_count == 2
    given = spec.root.dag.tasks["Trainer"].inputs.artifacts["hyperparameters"]
    assert given.task_output_artifact.producer_task == "Tuner"
    custom_config = json_utils.loads(constant(spec, "Tuner", "custom_config"))
    assert json.loads(custom_config["trainer"])["epochs"] == 3 and custom_config["gpus"] == 1


def test_a_custom_job_trains_in_the_image_with_cuda_and_the_node_that_waits_does_not(
    tmp_path: Path,
) -> None:
    with_cuda = f"registry.example/swar-gpu@sha256:{'cd' * 32}"
    spec = compiled(tmp_path, *CUSTOM_JOB, f"engine.training.image={with_cuda}")
    custom_config = json_utils.loads(constant(spec, "Trainer", "custom_config"))
    (pool,) = custom_config[TRAINING_ARGS_KEY]["job_spec"]["worker_pool_specs"]
    assert pool["container_spec"]["image_uri"] == with_cuda
    assert executors(spec)["Trainer"].container.image == IMAGE


@pytest.mark.parametrize("settings", [VERTEX, KUBEFLOW, CUSTOM_JOB])
def test_the_trainer_knows_how_many_gpus_it_must_see(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    spec = compiled(tmp_path, *settings, "engine.training.gpus=3")
    assert json_utils.loads(constant(spec, "Trainer", "custom_config"))["gpus"] == 3


def test_every_container_is_tried_again_as_kfp_s_own_compiler_would_say_it(
    tmp_path: Path, vertex: PipelineSpec
) -> None:
    spec = compiled(tmp_path, *VERTEX, "engine.tasks.retries=0", "engine.training.retries=5")
    for name in CONTAINERS:
        (default, policy) = (of.root.dag.tasks[name].retry_policy for of in (vertex, spec))
        assert default.max_retry_count == 2
        assert policy.max_retry_count == (5 if name == "Trainer" else 0)
        assert policy.backoff_duration.seconds == 60
        assert (policy.backoff_factor, policy.backoff_max_duration.seconds) == (2.0, 3_600)
    for name in RESOLVERS:
        assert not vertex.root.dag.tasks[name].HasField("retry_policy")


def test_a_custom_job_is_what_vertex_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = compiled(tmp_path, *CUSTOM_JOB)
    container = executors(spec)["Trainer"].container
    assert not container.resources.HasField("accelerator")
    assert "components.trainer.vertex.VertexExecutor" in container.args
    parsed = json_utils.loads(constant(spec, "Trainer", "custom_config"))
    assert (parsed[constants.ENABLE_VERTEX_KEY], parsed[constants.VERTEX_REGION_KEY]) == (
        True,
        "europe-west4",
    )
    # TFX's own client makes the request, which is only not sent.
    monkeypatch.setattr(training_clients.VertexJobClient, "create_client", lambda _: None)
    client = training_clients.VertexJobClient("europe-west4")
    arguments = parsed[TRAINING_ARGS_KEY]
    assert arguments.pop("project") == "voice-project"
    job = aiplatform_v1.CustomJob(
        client.create_training_job(
            {}, {}, {"epochs": 3}, "components.trainer.executor.Executor", arguments, None, {}
        )
    )
    (pool,) = job.job_spec.worker_pool_specs
    assert (pool.machine_spec.machine_type, pool.machine_spec.accelerator_count) == (
        "n1-standard-16",
        4,
    )
    assert pool.machine_spec.accelerator_type == aiplatform_v1.AcceleratorType.NVIDIA_TESLA_T4
    assert pool.container_spec.image_uri == IMAGE
    assert list(pool.container_spec.command)[:5] == [
        "python", "-m", "tfx.scripts.run_executor",
        "--executor_class_path", "components.trainer.executor.Executor",
    ]  # fmt: skip
    assert job.job_spec.service_account.startswith("trainer@")
    assert (job.display_name, job.labels["team"]) == ("swar-demo", "voice")


def test_a_gpu_that_vertex_does_not_have_is_told(tmp_path: Path) -> None:
    for settings in (VERTEX, CUSTOM_JOB):
        for name in ("NVIDIA_TESLA_T5", "TPU_V3"):  # the Trainer would count no GPU beside a TPU
            with pytest.raises(SwarError, match=rf"'{name}' is no GPU .*NVIDIA_L4") as raised:
                compiled(tmp_path, *settings, f"engine.training.gpu_type={name}")
            assert "TPU_V2" not in str(raised.value)


def test_an_endpoint_is_told_what_its_deployment_takes(tmp_path: Path) -> None:
    spec = compiled(tmp_path, *ENDPOINT)
    parsed = json_utils.loads(constant(spec, "Pusher", "custom_config"))
    assert parsed[constants.VERTEX_CONTAINER_IMAGE_URI_KEY] == "registry.example/tf-serving:1"
    serving = parsed[constants.SERVING_ARGS_KEY]
    assert (serving.pop("project_id"), serving.pop("endpoint_name")) == ("voice-project", "voices")
    assert serving.pop("labels") == {"team": "voice", "cost": "research"}
    # The rest is handed on to this.
    inspect.signature(aiplatform.Model.deploy).bind(None, endpoint=None, **serving)


def test_without_an_endpoint_models_are_published_below_the_root(vertex: PipelineSpec) -> None:
    destination = json.loads(constant(vertex, "Pusher", "push_destination"))
    assert destination["filesystem"]["base_directory"] == "gs://voices/swar/published"


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        (VERTEX, "/gcs/voices/swar/checkpoints"),
        (KUBEFLOW, "/tmp/swar-checkpoints"),
        ((*KUBEFLOW, "engine.root=/mnt/swar"), "/mnt/swar/checkpoints"),
    ],
)
def test_an_unfinished_training_is_kept_in_a_folder_that_is_one(
    tmp_path: Path, settings: tuple[str, ...], folder: str
) -> None:
    parsed = json_utils.loads(constant(compiled(tmp_path, *settings), "Trainer", "custom_config"))
    assert parsed["checkpoints"] == folder


def test_beam_components_get_beams_arguments(tmp_path: Path) -> None:
    spec = compiled(tmp_path, *VERTEX, "engine.beam.runner=dataflow")
    for name in ("SpeechExampleGen", "SpectrogramPairGen", "StatisticsGen", "Evaluator"):
        assert "--runner=DataflowRunner" in executors(spec)[name].container.args


def test_nothing_of_this_machine_is_in_the_file_and_it_is_the_same_again(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    compile_pipeline(config(*VERTEX), first)
    compile_pipeline(config(*VERTEX), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b.yaml"]
    text = first.read_text()
    assert str(Path(__file__).parents[3]) not in text
    assert str(Path.home()) not in text


def test_the_yaml_has_no_field_that_the_schema_lacks(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(config(*ENDPOINT), path)
    tree = YAML(typ="safe").load(path.read_text())
    deployment = tree["deploymentSpec"]
    json_format.ParseDict(tree, PipelineSpec())
    json_format.ParseDict(deployment, PipelineDeploymentConfig())


@pytest.mark.parametrize("missing", COMMON)
def test_a_missing_setting_is_told(tmp_path: Path, missing: str) -> None:
    settings = [setting for setting in VERTEX if setting != missing]
    with pytest.raises(SwarError, match=f"^{missing.partition('=')[0]} is not set: name"):
        compiled(tmp_path, *settings)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SwarError, match=r"cannot write .*/none/pipeline.yaml: No such file"):
        compiled(tmp_path / "none", *VERTEX)
