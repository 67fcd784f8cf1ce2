from pathlib import Path

import pytest

from components.errors import SwarError
from pipeline.config import Config, load_config
from pipeline.engines.settings import EngineSettings, check_placeholders, needed

DIGEST = "sha256:" + "0" * 64


def test_where_it_runs_changes_no_model() -> None:
    here = load_config("demo")
    there = load_config("demo", ["engine.root=gs://b/swar", "engine.training.gpus=4"])
    assert here.training_digest() == there.training_digest()
    assert here.digest() != there.digest()


def test_the_tree_with_an_engine_round_trips(tmp_path) -> None:
    config = load_config("demo", [f"engine.image=x/swar@{DIGEST}", "engine.google.labels=[a=b]"])
    path = tmp_path / "again.yaml"
    path.write_text(config.to_yaml())
    assert load_config(str(path)) == config


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("engine.imag=x", 'unknown setting "engine.imag"'),
        ("engine.image=x/swar:latest", 'wrong value "x/swar:latest" for "engine.image"'),
        ("engine.root=gs://voices/swar/", 'wrong value "gs://voices/swar/" for "engine.root"'),
        ("engine.name=airflow", 'wrong value "airflow" for "engine.name"'),
        ("engine.google.labels=[Team=a]", 'for "engine.google.labels[0]"'),
        ("engine.beam.portable.job_endpoint=flink", 'for "engine.beam.portable.job_endpoint"'),
        ("engine.vertex.endpoint.name=voices", "an endpoint needs both a name and a serving_image"),
        ("engine.vertex.endpoint.max_replicas=0", 'for "engine.vertex.endpoint.max_replicas"'),
        ("engine.vertex.endpoint.min_replicas=9", "max_replicas 3 is below min_replicas 9"),
        ("engine.name=kubeflow", "engine.training.machine_type is of Vertex"),
        ("engine.tasks.cpus='4'", 'wrong value "4" for "engine.tasks.cpus"'),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(setting: str, message: str) -> None:
    with pytest.raises(SwarError) as raised:
        load_config("demo", ["engine.training.machine_type=n1-standard-8", setting])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_setting_is_told_with_its_remedy() -> None:
    with pytest.raises(SwarError, match=r"^engine\.google\.region is not set: name a Google"):
        needed(EngineSettings(), "google.region")


@pytest.mark.parametrize(
    ("engine", "gpu_type", "refused"),
    [
        ("vertex", "NVIDIA_L4", False),
        ("vertex", "nvidia.com/gpu", True),
        ("kubeflow", "nvidia.com/gpu", False),
        ("kubeflow", "amd.com/gpu", False),
        ("kubeflow", "NVIDIA_L4", True),
    ],
)
def test_a_gpu_has_the_name_that_its_engine_knows(engine: str, gpu_type: str, refused: bool):
    settings = [f"engine.name={engine}", f"engine.training.gpu_type={gpu_type}"]
    if not refused:
        assert load_config("demo", settings).engine.training.gpu_type == gpu_type
        return
    with pytest.raises(SwarError, match=f"'{gpu_type}' is nothing that {engine} has: name an? "):
        load_config("demo", settings)


@pytest.mark.parametrize(
    ("setting", "placeholder"),
    [
        ("engine.google.project=PROJECT", "PROJECT"),
        ("engine.google.project=your-project", "your-project"),
        ("engine.google.service_account=swar@PROJECT.iam.gserviceaccount.com", "PROJECT"),
        ("engine.google.region='<region>'", "<region>"),
        ("engine.root=gs://BUCKET/swar", "BUCKET"),
        ("engine.root=gs://$BUCKET_NAME/swar", "$BUCKET_NAME"),
        ("engine.kubeflow.host='https://HOST/pipeline'", "HOST"),
        ("engine.kubeflow.experiment=changeme", "changeme"),
        ("engine.beam.portable.job_endpoint=JOBSERVER:8099", "JOBSERVER"),
    ],
)
def test_a_value_that_an_example_left_open_is_refused(setting: str, placeholder: str) -> None:
    engine = load_config("demo", [setting]).engine
    key = setting.partition("=")[0]
    with pytest.raises(SwarError) as raised:
        check_placeholders(engine)
    assert str(raised.value).startswith(f"{key} is '")
    assert str(raised.value).endswith(f'put your own in place of "{placeholder}"')


def test_data_in_the_example_s_bucket_are_refused_and_a_folder_of_any_name_is_not() -> None:
    with pytest.raises(SwarError, match=r"^--data is 'gs://BUCKET/recordings'"):
        check_placeholders(EngineSettings(), "gs://BUCKET/recordings")
    check_placeholders(EngineSettings(), "/mnt/PROJECT/recordings")


def test_every_placeholder_of_the_page_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parents[3].joinpath("docs/engines.md").read_text("utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    for _ in range(9):
        (tmp_path / "mine.yaml").write_text(example.replace("sha256:DIGEST", DIGEST))
        config = load_config(str(tmp_path / "mine.yaml"))
        try:
            check_placeholders(config.engine)
        except SwarError as error:
            placeholder = str(error).rpartition("place of ")[2].strip('"')
            assert placeholder in ("PROJECT", "BUCKET")
            example = example.replace(placeholder, "mine")
        else:
            break
    assert (config.engine.google.project, config.engine.root) == ("mine", "gs://mine/swar")


def test_no_setting_is_a_secret() -> None:
    names = str(Config.model_json_schema()).lower()
    assert [word for word in ("password", "secret", "token", "credential") if word in names] == []
