import pytest

from components.errors import SwarError
from pipeline.config import Config, load_config
from pipeline.engines.settings import EngineSettings, needed

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
    ("setting", "told"),
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
def test_a_wrong_setting_is_told_in_one_line(setting: str, told: str) -> None:
    with pytest.raises(SwarError) as raised:
        load_config("demo", ["engine.training.machine_type=n1-standard-8", setting])
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_setting_is_told_with_its_remedy() -> None:
    with pytest.raises(SwarError, match=r"^engine\.google\.region is not set: name a Google"):
        needed(EngineSettings(), "google.region")


def test_no_setting_is_a_secret() -> None:
    names = str(Config.model_json_schema()).lower()
    assert [word for word in ("password", "secret", "token", "credential") if word in names] == []
