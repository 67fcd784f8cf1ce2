"""Where things are unless one says otherwise; apart, so that `--help` can say so at once."""

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
"""That one may give; the operating system waits no longer than it can count."""
MAX_BATCH_SIZE: Final = 16
"""Recordings that the stand-in runs together at most."""
BATCH_TIMEOUT_MICROS: Final = 5_000
"""How long a request to the stand-in waits for others, in microseconds."""
PRIOR: Final = 0.5
"""Probability of the same speaker that an answer takes for granted."""
MAX_RECORDING_BYTES: Final = 64 * 2**20
"""Of a recording that is no file on this machine."""
