"""What several commands share: options, the gallery, and looks before a model is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from components.errors import SwarError

if TYPE_CHECKING:
    from serving.gallery import Gallery
    from serving.recordings import AudioInput

_SIDES: Final = {"left": 1, "right": 2}


def _channel(text: str) -> int | None:
    """The number of a channel; None for the mean of all."""
    if text == "mean":
        return None
    number = _SIDES.get(text) or (int(text) if text.isdecimal() else 0)
    if not 1 <= number <= 1_000:
        raise typer.BadParameter(f"{text!r} is not left, right, mean or a number from 1 on")
    return number


GalleryOption = Annotated[
    str, typer.Option("--gallery", help="Folder or object storage URI of the enrolled speakers.")
]
GalleryKeyOption = Annotated[
    str | None,
    typer.Option(
        "--gallery-key",
        metavar="FILE|env:NAME",
        help="The key of a sealed gallery, in a file or an environment variable.",
    ),
]
ChannelOption = Annotated[
    int | None,
    typer.Option(
        "--channel",
        metavar="left|right|N|mean",
        parser=_channel,
        help="The channel of the recordings that counts, such as a side of a call. [mean]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def open_gallery(uri: str, key: str | None) -> "Gallery":
    """Raises SwarError where the key cannot be read."""
    # Only here: the gallery's libraries take half a second to import.
    from serving.gallery import Gallery
    from serving.gallery_keys import read_keys

    return Gallery(uri, None if key is None else read_keys(key))


def on_channel(files: Sequence[Path], channel: int | None) -> "list[AudioInput]":
    """The recordings, or one channel of each."""
    from serving.recordings import RecordingChannel

    return [file if channel is None else RecordingChannel(file, channel) for file in files]


def check_recordings(*files: Path) -> None:
    """Before a model is loaded, which takes seconds.

    Raises:
        SwarError: one of the files does not exist.
    """
    for file in files:
        if not file.exists():
            raise SwarError(f"{str(file)!r} does not exist: name another recording")
