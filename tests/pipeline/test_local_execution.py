import io
from pathlib import Path

import pytest

from components.errors import SwarError
from pipeline import local_execution
from pipeline.local_execution import execute_locally, on_this_machine
from tests.pipeline.support_engines import (
    VERTEX,
    compiled,
    compiled_of,
    config,
    constant,
    executors,
)

CLOUD = (
    *VERTEX,
    "engine.beam.runner=dataflow",
    "engine.training.machine_type=n1-standard-8",
    "engine.vertex.endpoint.name=voices",
    "engine.vertex.endpoint.serving_image=registry.example/tf-serving:1",
)


def test_only_what_needs_a_cloud_is_another(tmp_path: Path) -> None:
    there = compiled(tmp_path, *CLOUD)
    here = compiled_of(on_this_machine(config(*CLOUD), Path("/here")), tmp_path)
    # Which tasks there are, what each takes from whom, and how the baseline is found.
    assert set(here.root.dag.tasks) == set(there.root.dag.tasks)
    for name, task in here.root.dag.tasks.items():
        assert task.inputs.artifacts == there.root.dag.tasks[name].inputs.artifacts
        assert task.dependent_tasks == there.root.dag.tasks[name].dependent_tasks
        assert executors(here)[name].resolver == executors(there)[name].resolver
        changed = {
            key
            for key, given in task.inputs.parameters.items()
            if given != there.root.dag.tasks[name].inputs.parameters[key]
        }
        allowed = {"Trainer": {"custom_config"}, "Pusher": {"custom_config", "push_destination"}}
        assert changed <= allowed.get(name, set())
    assert "/here/published" in constant(here, "Pusher", "push_destination")
    assert "gs://" not in str(here)


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_execution, "run_parameters", lambda *_: {})
    (tmp_path / "artifacts").write_text("in the way")
    with pytest.raises(SwarError, match=rf"^cannot write to {tmp_path}/artifacts"):
        execute_locally(config(), data="d", output=tmp_path, in_image=False, terminal=io.StringIO())


@pytest.mark.parametrize(
    ("output", "told"), [("data/out", "lies in the data"), ("out [1]", r"holds \[ and \]")]
)
def test_an_output_where_none_can_be_is_told_before_anything_is_written(
    tmp_path: Path, output: str, told: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(SwarError, match=told):
        execute_locally(
            config(),
            data=str(data),
            output=tmp_path / output,
            in_image=False,
            terminal=io.StringIO(),
        )
    assert not (tmp_path / output).exists()


def test_an_image_must_be_named_to_run_in(tmp_path: Path) -> None:
    with pytest.raises(SwarError, match=r"engine\.image"):
        execute_locally(config(), data="d", output=tmp_path, in_image=True, terminal=io.StringIO())
