"""Why a recording cannot be decoded: all reasons and errors of decoders."""

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
    """A file has no valid samples: `reason` is a short code, `message` one line."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def check_size(size_bytes: int, max_bytes: int) -> None:
    """Raises AudioError, `too_large`, for more than `max_bytes` of a recording."""
    if size_bytes > max_bytes:
        raise AudioError(TOO_LARGE, f"has more than {max_bytes / 1e6:,.0f} MB")


@contextlib.contextmanager
def decoder_errors(reason: str, what: str) -> Iterator[None]:
    """Turns any error of a decoder into an AudioError: its input is to blame, not the caller.

    Args:
        reason: one of the codes above.
        what: the beginning of the message, such as "breaks off in decoding".

    Raises:
        AudioError: any error was raised, except a MemoryError, which passes.
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
