"""The runner's view of TFX, on a pipeline of two small components."""

import io
from pathlib import Path

import pytest
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components.errors import SwarError
from components.terminal import Console
from pipeline.console import Progress
from pipeline.failures import user_error
from pipeline.local import runner
from pipeline.output import results


@component
def Count(  # noqa: N802 - TFX names components like classes
    n: Parameter[int], pairs: OutputArtifact[standard_artifacts.Examples]
) -> None:
    pairs.set_string_custom_property("split_counts", f'{{"eval": {n}, "train": 9}}')


@component
def Bless(  # noqa: N802
    fault: Parameter[str],
    pairs: InputArtifact[standard_artifacts.Examples],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
) -> None:
    if fault:
        raise SwarError(fault)
    blessing.set_int_custom_property("blessed", 1)


def _run(folder: Path, n: int, fault: str = "") -> dict[str, str]:
    count = Count(n=n)
    bless = Bless(pairs=count.outputs["pairs"], fault=fault)
    pipeline = Pipeline(
        pipeline_name="swar",
        pipeline_root=str(folder / "artifacts"),
        components=[count, bless],
        enable_cache=True,
        metadata_connection_config=sqlite_metadata_connection_config(str(folder / "m.sqlite")),
    )
    progress = Progress(Console(file=io.StringIO()))
    with progress.watching([node.id for node in pipeline.components]):
        runner._run_nodes(pipeline)
    assert progress.without_inputs() == []
    return {name: item.state for name, item in progress.components.items()}


@pytest.mark.slow
def test_states_and_outputs_of_each_run(tmp_path: Path) -> None:
    from absl import logging as absl_logging
    from ml_metadata import MetadataStore

    absl_logging.set_verbosity(absl_logging.INFO)
    assert _run(tmp_path, 3) == {"Count": "done", "Bless": "done"}
    assert _run(tmp_path, 3) == {"Count": "cached", "Bless": "cached"}
    assert _run(tmp_path, 4) == {"Count": "done", "Bless": "done"}
    with pytest.raises(Exception, match="mend it") as raised:
        _run(tmp_path, 4, fault="a fault: mend it")
    assert user_error(raised.value) == "a fault: mend it"
    assert _run(tmp_path, 3) == {"Count": "cached", "Bless": "cached"}

    config = sqlite_metadata_connection_config(str(tmp_path / "m.sqlite"))
    outputs = results.latest_outputs(MetadataStore(config))
    assert results.split_counts(outputs["pairs"]) == {"train": 9, "eval": 3}
    assert results.is_blessed(outputs["blessing"])
