"""TensorFlow's kernels of oneDNN are on, whatever TensorFlow thinks of the processor."""

import os
import subprocess
import sys

import pytest

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize(
    "module",
    ["pipeline.cli", "components.trainer.run_fn", "serving.server", "pipeline.local.beam"],
)
def test_it_is_asked_for_before_tensorflow_is_imported(module):
    code = (
        f"import importlib, os, sys; importlib.import_module('{module}');"
        "modules = list(sys.modules);"
        "in_time = 'tensorflow' not in modules or "
        "modules.index('components') < modules.index('tensorflow');"
        f"print(os.environ.get('{VARIABLE}'), in_time)"
    )
    unset = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=unset,
    )
    assert done.stdout.split() == ["1", "True"]
