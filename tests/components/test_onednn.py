"""TensorFlow's kernels of oneDNN are on, whatever TensorFlow thinks of the processor."""

import os
import subprocess
import sys

import pytest

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# Tells of the variable where TensorFlow would read it, and ends there.
IMPORT = f"""
import importlib, os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            print(os.environ.get("{VARIABLE}"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
importlib.import_module(sys.argv[1])
print(os.environ.get("{VARIABLE}"))
"""


@pytest.mark.parametrize(
    "module",
    ["pipeline.cli", "components.trainer.run_fn", "serving.server", "pipeline.local.beam"],
)
def test_it_is_asked_for_before_tensorflow_is_imported(module):
    unset = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, module],
        check=True,
        capture_output=True,
        text=True,
        env=unset,
    )
    assert done.stdout == "1\n"
