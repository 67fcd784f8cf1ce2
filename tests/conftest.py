"""Fixtures that every test can use."""

import importlib.util
from pathlib import Path

import pytest

import components.beam_worker  # noqa: F401 - lets TFDV be imported, whichever test comes first

# TFX brings kfp on Python 3.11 only.
collect_ignore = (
    []
    if importlib.util.find_spec("kfp")
    else [
        "e2e/test_compiled_pipeline.py",
        "pipeline/test_beam_options.py",
        "pipeline/test_compiler.py",
        "pipeline/test_kubeflow_runner.py",
        "pipeline/test_local_execution.py",
        "pipeline/test_spec_executor.py",
        "pipeline/test_vertex_runner.py",
    ]
)
SHARED_SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"


@pytest.fixture(scope="session")
def shared_speech() -> Path:
    """The folder of real speech, one folder for each data set; skips where it is missing."""
    if not SHARED_SPEECH.is_dir():
        pytest.skip("needs real speech in ../shared/speech beside the repository")
    return SHARED_SPEECH
