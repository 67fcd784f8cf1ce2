"""Why a recording gives no good samples: the one place of a decoder's errors."""

import contextlib
from collections.abc import Iterator
from typing import Final

import soundfile

EMPTY_FILE: Final = "empty_file"
NOT_A_FILE: Final = "not_a_file"
NOT_AUDIO: Final = "not_audio"
UNREADABLE: Final = "unreadable"
TRUNCATED: Final = "truncated"
NAN_SAMPLES: Final = "nan_samples"
NO_SAMPLES: Final = "no_samples"
NO_CHANNEL: Final = "no_channel"
TOO_LONG: Final = "too_long"
TOO_LARGE: Final = "too_large"


class AudioError(Exception):
    """A file that does not give good samples: `reason` is a short code, the text one line."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def check_size(size_bytes: int, max_bytes: int) -> None:
    """Raises AudioError, `too_large`, for more bytes of a recording than there may be."""
    if size_bytes > max_bytes:
        raise AudioError(TOO_LARGE, f"has more than {max_bytes / 1e6:,.0f} MB")


@contextlib.contextmanager
def decoder_errors(reason: str, what: str) -> Iterator[None]:
    """Turns whatever a decoder raises into an AudioError: its input is to blame, not the caller.

    Args:
        reason: one of the codes above.
        what: the beginning of the message, such as "breaks off in decoding".

    Raises:
        AudioError: anything was raised but this, or a MemoryError, which is the machine's.
    """
    try:
        yield
    except (AudioError, MemoryError):
        raise
    except soundfile.LibsndfileError as error:
        raise AudioError(reason, f"{what}: {error.error_string}") from error
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise AudioError(reason, f"{what}: {text}") from error
