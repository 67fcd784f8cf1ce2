"""Checks an exported model in a process without any state of its training."""

import json
import os
import subprocess
import sys
from typing import Final

from components.errors import SwarError

_MOST_SECONDS: Final = 900.0
"""Enough to load a model and answer some twenty recordings on a busy machine."""
_SHOWN_FAULTS: Final = 3
# A server has no Keras, but TensorFlow imports it where it is installed.
_PROGRAM: Final = """
import sys
sys.modules["keras"] = None
from components.serving_check.served_answers import main
main()
"""


def check_served(model: str) -> None:
    """Loads a model in another process, runs its warm-up and compares its golden answers.

    Args:
        model: folder of the SavedModel, on any file system that TensorFlow reads.

    Raises:
        SwarError: it does not answer as in the process that exported it.
    """
    if faults := _faults(model):
        more = f"; and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
        raise SwarError(
            f"the exported model does not answer as it did in the process that exported it, and "
            f"is not published: {'; '.join(faults[:_SHOWN_FAULTS])}{more} ({model}: see whether "
            "the disk is sound, and start again with another output folder)"
        )


def _faults(model: str) -> list[str]:
    # The training may still fill the GPU.
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [sys.executable, "-P", "-c", _PROGRAM, model]
    try:
        ended = subprocess.run(
            command, env=environment, capture_output=True, timeout=_MOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"no answer within {_MOST_SECONDS:g} s"]
    if ended.returncode != 0:
        lines = ended.stderr.decode("utf-8", "replace").splitlines() or [""]
        return [f"the process that served it ended with {ended.returncode}: {lines[-1].strip()}"]
    faults: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return faults
