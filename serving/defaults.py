"""Where things are unless one says otherwise; apart, so that `--help` can say so at once."""

from typing import Final

URL: Final = "grpc://127.0.0.1:8500"
MODEL: Final = "base"
MODEL_NAME: Final = "swar"
DEADLINE_SECONDS: Final = 60.0
MAX_BATCH_SIZE: Final = 16
BATCH_TIMEOUT_MICROS: Final = 5_000
PRIOR: Final = 0.5
MAX_RECORDING_BYTES: Final = 64 * 2**20
"""Of a recording that is no file on this machine."""
