"""What several commands share: options, the gallery, and looks before a model is loaded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import SwarError

if TYPE_CHECKING:
    from serving.gallery import Gallery

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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def open_gallery(uri: str, key: str | None) -> "Gallery":
    """Raises SwarError where the key cannot be read."""
    # Only here: the gallery's libraries take half a second to import.
    from serving.gallery import Gallery
    from serving.gallery_keys import read_keys

    return Gallery(uri, None if key is None else read_keys(key))


def check_recordings(*files: Path) -> None:
    """Before a model is loaded, which takes seconds.

    Raises:
        SwarError: one of the files does not exist.
    """
    for file in files:
        if not file.exists():
            raise SwarError(f"{str(file)!r} does not exist: name another recording")
