"""The folder of a run: one run at a time writes to it, and it holds versions of the model.

Commands check it before they import the slow library that reads its records.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components.errors import SwarError
from components.file_lock import locked
from components.model.files import (
    BASE,
    GRAPH,
    MODEL_CARD,
    PUBLISHED,
    is_version_name,
    published_folders,
    read_card,
    version_folder,
)

METADATA = "metadata.sqlite"
ARTIFACTS = "artifacts"
_RUNS = (
    "SELECT count(*) FROM Context JOIN Type ON Type.id = Context.type_id "
    "WHERE Type.name = 'pipeline_run'"
)
_LAST_EXECUTION = "SELECT max(id) FROM Execution"


class ModelIdentity(NamedTuple):
    """Identifies the model of a version; a model that is published again has the same one."""

    model_digest: str
    """Digest of what makes the embeddings; also names the model in its training's records."""
    threshold: float
    """Changes if the model is calibrated again, which leaves the embeddings as they are."""
    slope: float | None


@contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Locks the output folder for this process; the lock ends with the process at the latest.

    Creates the folder, and `logs/` in it. Other users can read only what is published: the rest
    is biometric.

    Raises:
        SwarError: the folder cannot be written, or another process holds it.
    """
    try:
        (output / "logs").mkdir(parents=True, exist_ok=True)
        (output / ".lock").touch()
        _close_to_others(output)
        descriptor = os.open(output / ".lock", os.O_WRONLY)
    except OSError as error:
        raise SwarError(
            f"cannot write to the output folder {output} ({error.filename or output}: "
            f"{error.strerror}): make it writable, or choose another one"
        ) from error
    message = f"another run is writing to {output}: wait for it or choose another output folder"
    with locked(descriptor, held_message=message):
        yield


def check_run(output: Path) -> None:
    """Raises SwarError if no run wrote to the folder, or its records cannot be read."""
    path = output / METADATA
    if not path.is_file():
        raise SwarError(f"{output} has no {METADATA}: name the output folder of a run")
    check_records(output)
    if not has_run(output):
        raise SwarError(
            f"{path} has no run in it: bring it back from a copy of the folder, or run again"
        )


def has_run(output: Path) -> bool:
    """Whether the folder's records hold a run, or cannot be opened now."""
    path = output / METADATA
    try:
        return path.is_file() and bool(_query(path, _RUNS))
    except sqlite3.OperationalError:
        return True  # as in check_records


def _close_to_others(output: Path) -> None:
    """Closes all but `published` to other users, also what earlier versions of Swar left open."""
    if output.stat().st_uid != os.getuid():
        return
    output.chmod(0o711)
    for entry in output.iterdir():
        if entry.name != PUBLISHED and not entry.is_symlink():
            entry.chmod(0o700 if entry.is_dir() else 0o600)


def check_records(output: Path) -> None:
    """Raises SwarError if the folder's records are damaged or lack artifacts that lie there.

    A folder without records is fine."""
    path = output / METADATA
    # Listed before the records are read, since a run at work writes these first.
    folders = sorted((output / ARTIFACTS).glob("*/*/*"))
    found, last = "ok", 0
    try:
        if path.is_file():
            found = _query(path, "PRAGMA quick_check(1)")
            last = _query(path, _LAST_EXECUTION) or 0
    except sqlite3.OperationalError:
        return  # locked, or cannot be opened: later reads or writes report that
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise SwarError(
            f"{path} is damaged ({found}): bring it back from a copy of the folder, or run with "
            "another output folder"
        )
    for folder in folders:
        # A new run would use this number again and write among the files that are there.
        if is_version_name(folder.name) and int(folder.name) > last:
            raise SwarError(
                f"{folder} is of a run that {path} does not know: bring the whole folder back "
                "from a copy, or run with another output folder"
            )


def _query(records: Path, query: str) -> Any:
    """The first value that a query of the records gives; None without a row or such a table."""
    with closing(sqlite3.connect(f"{records.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        try:
            row = opened.execute(query).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return None
    return None if row is None else row[0]


def model_digest(folder: Path) -> str | None:
    """The digest that identifies a SavedModel of the pipeline; None if it has no card."""
    return read_card(folder)["model_digest"] if (folder / MODEL_CARD).is_file() else None


def published_versions(output: Path) -> dict[int, ModelIdentity]:
    """The published models by version, the oldest first.

    Raises:
        SwarError: a version's card cannot be read, so its model is not known.
    """
    cards = {
        int(folder.name): read_card(folder) for folder in published_folders(output / PUBLISHED)
    }
    return {
        version: ModelIdentity(card["model_digest"], card["threshold"], card.get("slope"))
        for version, card in cards.items()
    }


def calibrated_on(version: Path) -> dict[str, Any] | None:
    """What `swar calibrate` wrote into a version's card; None if it did not make the version."""
    return read_card(version).get("calibrated_on")


def check_versions_folder(folder: Path) -> None:
    """Raises SwarError unless a version can be published to the folder, which may be new.

    Publishing removes folders that are named by a number and hold no model, since an interrupted
    push leaves such a folder. Elsewhere it could be a speaker's recordings.
    """
    if (folder / METADATA).is_file():
        raise SwarError(f"{folder} is the output folder of a run: name {folder / PUBLISHED}")
    try:
        for entry in folder.iterdir() if folder.exists() else ():
            if is_version_name(entry.name) and not (entry / GRAPH).is_file():
                raise SwarError(f"{entry} is no published model: choose another folder of versions")
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        with tempfile.TemporaryDirectory(prefix=".swar-", dir=there):
            pass
    except OSError as error:
        raise SwarError(
            f"cannot write {folder}: {error.strerror or error}: choose another folder"
        ) from error


def run_folder(name: str) -> Path:
    """The output folder of a run, whether or not it exists.

    Args:
        name: OUTPUT, or OUTPUT/published.

    Raises:
        SwarError: the name is that of one model.
    """
    folder = Path(name)
    if name == BASE or (folder / GRAPH).is_file():
        raise SwarError(f"{name!r} is one model: name the output folder of a run, OUTPUT")
    if folder.absolute().name == PUBLISHED and not (folder / METADATA).is_file():
        return folder.absolute().parent
    return folder


def output_and_version(model: str | Path) -> tuple[Path, int]:
    """The output folder that a published model lies in, and its version.

    Args:
        model: a version's folder; or OUTPUT/published or OUTPUT, which mean the newest one.

    Raises:
        SwarError: the model is none of these.
    """
    if model == BASE:
        raise SwarError(
            "the base model was not made by a run on this machine: pretrained/README.md tells what "
            "it was made from; name OUTPUT, OUTPUT/published or a version in it"
        )
    folder = version_folder(Path(model)).absolute()
    output = folder.parent.parent
    is_published = folder.parent.name == PUBLISHED and is_version_name(folder.name)
    if not (is_published and (output / METADATA).is_file()):
        raise SwarError(
            f"{str(folder)!r} does not lie in the output folder of a run, whose records tell of "
            "it: name OUTPUT/published/VERSION, where it was trained"
        )
    return output, int(folder.name)
