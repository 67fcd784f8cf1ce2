"""What several commands share: options, the gallery they name, recordings on stdin."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from components.errors import SwarError
from components.terminal import say
from components.user_folders import user_data
from serving import defaults

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


def share(text: str) -> float:
    """A user's share or probability in (0, 1); raises typer.BadParameter for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:
        raise typer.BadParameter(f"{text!r} is not between 0 and 1, such as 0.01")
    return value


def written_path(text: str) -> Path:
    """The path of an output; raises typer.BadParameter if it is empty.

    An empty path, as from an unset shell variable, would mean the working folder to Python.
    """
    if not text:
        raise typer.BadParameter("it is empty: name a file or folder")
    return Path(text)


STDIN: Final = Path("-")
_READ_BYTES: Final = 2**20


def default_gallery() -> str:
    """The default gallery's folder, in the user's own data folder.

    Raises:
        SwarError: this user has no home.
    """
    folder = user_data()
    if folder is None:
        raise SwarError("this user has no home folder to keep a gallery in: name one, --gallery")
    return str(folder / "gallery")


GalleryOption = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        envvar="SWAR_GALLERY",
        help="Folder or object storage URI of the enrolled speakers.",
        show_default="swar/gallery in your data folder",
    ),
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
FollowLinksOption = Annotated[
    bool, typer.Option("--follow-links", help="Also links in DATA that lead out of it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def open_gallery(uri: str | None, key: str | None) -> "Gallery":
    """The gallery that the options name; raises SwarError if the key cannot be read."""
    # Only here: the gallery's libraries take half a second to import.
    from serving.gallery import Gallery
    from serving.gallery_keys import read_keys

    if uri is None:
        uri = default_gallery()
    return Gallery(uri, None if key is None else read_keys(key))


def show_gallery_used(gallery: "Gallery") -> None:
    """Names the gallery on stderr, since it may be the default one."""
    say(f"gallery: {gallery.uri}", error=True)


def on_channel(files: Sequence[Path], channel: int | None) -> "list[AudioInput]":
    """The recordings, or one channel of each."""
    from serving.recordings import RecordingChannel

    return [file if channel is None else RecordingChannel(file, channel) for file in files]


def check_recordings(*files: Path) -> None:
    """Checks files before a model is loaded, which takes seconds.

    Raises:
        SwarError: a file does not exist, or stdin is named twice or is a terminal.
    """
    for file in files:
        if file != STDIN and not file.exists():
            raise SwarError(f"{str(file)!r} does not exist: name another recording")
    if files.count(STDIN) > 1:
        raise SwarError("- is what comes on stdin, which is one recording: give it once")
    if STDIN in files and sys.stdin.isatty():
        raise SwarError("- is a recording on stdin, which is a terminal: pipe one into it")


@contextlib.contextmanager
def with_stdin(files: Sequence[Path]) -> Iterator[list[Path]]:
    """The files, with `-` replaced by a private temporary file of stdin's content.

    Errors and the log of recordings call that file stdin.

    Raises:
        SwarError: stdin holds nothing, or more than a recording may have.
    """
    if STDIN not in files:
        yield list(files)
        return
    with tempfile.TemporaryDirectory(prefix="swar-") as folder:
        spooled = Path(folder, "stdin")
        _spool(spooled)

        def called_stdin(text: str) -> str:
            return text.replace(repr(str(spooled)), "stdin")

        def rename(record: logging.LogRecord) -> bool:
            record.msg, record.args = called_stdin(record.getMessage()), None
            return True

        log = logging.getLogger("swar.audio")
        log.addFilter(rename)
        try:
            yield [spooled if each == STDIN else each for each in files]
        except SwarError as error:
            raise SwarError(called_stdin(str(error))) from error
        finally:
            log.removeFilter(rename)


def _spool(file: Path) -> None:
    size = 0
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as to:
        while chunk := sys.stdin.buffer.read(_READ_BYTES):
            size += len(chunk)
            if size > defaults.MAX_RECORDING_BYTES:
                raise SwarError(
                    f"stdin holds more than {defaults.MAX_RECORDING_BYTES // 2**20} MiB: give a "
                    "shorter recording, or a file"
                )
            to.write(chunk)
    if not size:
        raise SwarError("stdin holds nothing: pipe a recording into it")
