"""Swar in Python: verify, identify and embed recordings, and read the pairs of a run.

import swar

model = swar.load()  # the base model, in this process
model.verify("a.mp3", "b.wav").probability
"""

import importlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from components.errors import SwarError as SwarError

if TYPE_CHECKING:
    from components.read_pairs import read_pairs as read_pairs
    from serving.client import Client as Client
    from serving.credentials import Credentials as Credentials
    from serving.gallery import Gallery as Gallery
    from serving.recognition import enroll as enroll
    from serving.recognition import identify as identify
    from serving.recognition import verify_speaker as verify_speaker
    from serving.recordings import RecordingChannel as RecordingChannel
    from serving.recordings import Waveform as Waveform
    from serving.timeline import timeline as timeline
    from serving.watching import Watcher
    from serving.watching import WatchLog as WatchLog

# Imported at first use: each needs its own libraries, which take seconds to import.
_MODULES: Final = {
    "Client": "serving.client",
    "Credentials": "serving.credentials",
    "Gallery": "serving.gallery",
    "RecordingChannel": "serving.recordings",
    "WatchLog": "serving.watching",
    "Waveform": "serving.recordings",
    "enroll": "serving.recognition",
    "identify": "serving.recognition",
    "read_pairs": "components.read_pairs",
    "timeline": "serving.timeline",
    "verify_speaker": "serving.recognition",
}

__all__ = sorted([*_MODULES, "SwarError", "load"])


def load(model: str | os.PathLike[str] = "base", *, watchers: "Sequence[Watcher]" = ()) -> "Client":
    """A model in this process, without a server; its first call loads TensorFlow and the model.

    Args:
        model: `base`, the output folder of a run, OUTPUT/published, or a version in it.
        watchers: each a `WatchLog` or a function, called with a row per recording and decision.

    Returns:
        A client of the model, as of a served one.

    Raises:
        SwarError: there is no such model, or a library that it needs is not installed.
    """
    from serving.client import Client

    return Client.in_process(os.fspath(model), watchers=watchers)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'swar' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
