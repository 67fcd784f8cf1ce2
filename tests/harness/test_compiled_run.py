from pathlib import Path

from tests.harness.compiled_run import on_this_machine
from tests.pipeline.engines.support_engines import (
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
