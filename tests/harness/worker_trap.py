"""Kills one worker of Beam in the middle of a shard. Imported when a worker process starts."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

EXAMPLES = 3  # of a shard that are written before


def arm(trap: str) -> None:
    """In a worker, and while the file is there: the one that removes it is killed."""
    if "SdkHarness" not in " ".join(sys.orig_argv) or not Path(trap).exists():
        return
    from components.speech_example_gen import executor

    original, written = executor._example, 0

    def trapped(*arguments: Any) -> Any:
        nonlocal written
        written += 1
        if written > EXAMPLES and Path(trap).exists():
            Path(trap).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    executor._example = trapped  # type: ignore[assignment]  # Mypy knows the original
