"""Default values of options; a module of its own, so that `--help` is fast."""

from typing import Final

URL: Final = "grpc://127.0.0.1:8500"
"""Of the server that a client calls."""
MODEL: Final = "base"
"""The model that answers in this process: the one of the package."""
MODEL_NAME: Final = "swar"
"""What requests call a served model."""
DEADLINE_SECONDS: Final = 60.0
"""For one request to a server, with all its attempts."""
LONGEST_DEADLINE_SECONDS: Final = 1e6
"""The longest allowed, since an operating system's waits are bounded."""
MAX_BATCH_SIZE: Final = 16
"""Recordings that the stand-in runs together at most."""
BATCH_TIMEOUT_MICROS: Final = 5_000
"""How long a request to the stand-in waits for others, in microseconds."""
PRIOR: Final = 0.5
"""Prior probability of the same speaker that answers assume."""
MAX_RECORDING_BYTES: Final = 64 * 2**20
"""Of a recording that is uploaded or comes on stdin."""
