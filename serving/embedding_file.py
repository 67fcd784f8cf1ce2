"""The embeddings of everything in a folder or manifest, as one Parquet file.

Parts of it are first written into a folder beside it, `FILE.partial`, from which an interrupted
embedding goes on. Once all are there, they become the file, a row group each.
"""

import logging
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from components.atomic_write import new_file
from components.audio import AudioError
from components.errors import SwarError
from components.file_lock import locked
from components.recordings.files import Reject, entries_of, entry_state, is_remote, open_locally
from components.recordings.listing import (
    Listing,
    NoSpeakerError,
    Recording,
    data_digest,
)
from components.recordings.sources import list_recordings
from serving.answers import OK, Description, Embedding
from serving.bulk import decode, embed_each
from serving.client import Client

logger = logging.getLogger("swar.recordings")

ROWS_PER_PART: Final = 256
"""Most rows that an interruption loses, and the rows of a row group of the file."""
_DATA_DIGEST: Final = b"swar.data_digest"
_MODEL_DIGEST: Final = b"swar.model_digest"


@dataclass(frozen=True)
class EmbeddedData:
    """What a file of embeddings holds."""

    file: str
    recordings: int
    """Rows of the file."""
    statuses: Mapping[str, int]
    """How many recordings have each status, by its name."""
    left_out: Mapping[str, int]
    """How many files in the data are not recordings, by reason; they have no rows."""
    model_digest: str


def embed_data(
    client: Client,
    data: str,
    output: Path,
    on_progress: Callable[[int, int], None],
    *,
    follow_links: bool = False,
) -> EmbeddedData:
    """Embeds every recording of the data into a file, a row each.

    An existing file of the same data and model is left as it is.

    Args:
        client: of the model.
        data: a folder of speakers' folders, a folder of recordings, a manifest, or a pattern.
        output: the Parquet file.
        on_progress: called with how many recordings are done, and of how many.
        follow_links: whether links in the data that lead out of it are followed.

    Raises:
        SwarError: the data are at fault, the file or a part of it is of other data or of another
            model, or the client raises it.
        OSError: the file cannot be written.
    """
    if Path(data).is_dir() and output.resolve().is_relative_to(Path(data).resolve()):
        raise SwarError(f"{output} is inside of {data}: name a file outside of the recordings")
    listing = list_data(data, follow_links=follow_links)
    for remark in listing.remarks:
        logger.warning("%s", remark)
    description = client.describe()
    schema = _schema(description, data_digest(listing))
    partial = Path(f"{output}.partial")
    if output.exists():
        _check(output, schema)
    else:
        with _locked(partial):
            for part in sorted(partial.glob("*.parquet")):
                _check(part, schema)
            parts = _write_parts(client, description, listing, schema, partial, on_progress)
            _join(parts, output, schema)
    shutil.rmtree(partial, ignore_errors=True)
    return _summary(output, listing, description)


def list_data(data: str, *, follow_links: bool = False) -> Listing:
    """What `list_recordings` lists; for a local folder without speakers' folders, its files.

    Recordings of such a folder have an empty speaker.
    """
    try:
        return list_recordings(data, follow_outside_links=follow_links)
    except NoSpeakerError:
        if is_remote(data):
            raise
        folder = Path(data).absolute()
        listing = _flat_listing(folder, None if follow_links else folder)
        if not listing.recordings:
            raise
        return listing


def _flat_listing(folder: Path, within: Path | None) -> Listing:
    recordings: list[Recording] = []
    rejects: list[Reject] = []
    for entry in entries_of(folder):
        status = entry_state(entry, entry.name, within)
        if isinstance(status, Reject):
            rejects.append(status)
        elif stat.S_ISREG(status.st_mode):
            size, modified = status.st_size, status.st_mtime
            recordings.append(
                Recording(str(entry), "", "unknown", entry.name, None, None, size, modified)
            )
    recordings.sort(key=lambda recording: recording.recording)
    return Listing(tuple(recordings), tuple(rejects), frozenset())


def _schema(description: Description, digest: str) -> pa.Schema:
    """Of the file and its parts; its metadata names the data and the model."""
    return pa.schema(
        [
            ("recording", pa.string()),
            ("speaker", pa.string()),  # null if the data do not name one
            ("status", pa.string()),
            ("speech_seconds", pa.float32()),  # null if nothing could be decoded
            ("snr_db", pa.float32()),  # null if not decoded, as are the next two
            ("bandwidth_hz", pa.float32()),
            ("clipped_fraction", pa.float32()),
            ("model_digest", pa.string()),
            # Null unless the status is ok; Arrow does not write nulls in lists of a fixed size.
            ("embedding", pa.list_(pa.float32())),
        ],
        metadata={_DATA_DIGEST: digest, _MODEL_DIGEST: description.model_digest},
    )


def _check(file: Path, schema: pa.Schema) -> None:
    """Raises SwarError unless a file or part is of the same data and model."""
    culprit = file.parent if file.parent.suffix == ".partial" else file
    try:
        found = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise SwarError(
            f"{file} cannot be read as a Parquet file: remove {culprit}, or name another --output"
        ) from error
    metadata = found.metadata or {}
    for key, what in ((_MODEL_DIGEST, "another model"), (_DATA_DIGEST, "other recordings")):
        if metadata.get(key) != schema.metadata[key]:
            digest = metadata.get(key, b"unknown").decode()
            raise SwarError(
                f"{file} is of {what} (digest {digest}, not {schema.metadata[key].decode()}): "
                f"remove {culprit}, or name another --output"
            )
    if found.names != schema.names:
        raise SwarError(
            f"{file} was written by another version of swar: remove {culprit}, or name another "
            "--output"
        )


def _write_parts(
    client: Client,
    description: Description,
    listing: Listing,
    schema: pa.Schema,
    folder: Path,
    on_progress: Callable[[int, int], None],
) -> list[Path]:
    """Writes those parts that are not there yet; returns all, in order."""
    rejects = [reject for reject in listing.rejects if reject.counts]
    items: list[Recording | Reject] = [*listing.recordings, *rejects]
    items.sort(key=_name)
    parts = []
    for first in range(0, len(items), ROWS_PER_PART):
        end = min(first + ROWS_PER_PART, len(items))
        # The name gives the rows: parts of another size are not mistaken for it.
        part = folder / f"{first:09d}-{end:09d}.parquet"
        if not part.exists():
            rows = []
            for row in _rows(client, description, items[first:end]):
                rows.append(row)
                on_progress(first + len(rows), len(items))
            with new_file(part, private=True) as new:
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), new)
        on_progress(end, len(items))
        parts.append(part)
    return parts


def _rows(
    client: Client, description: Description, items: Sequence[Recording | Reject]
) -> Iterator[dict[str, Any]]:
    wavs = (_wav(item, description) for item in items)
    embeddings = embed_each(client, description, wavs)
    for item, embedding in zip(items, embeddings, strict=True):
        yield _row(item, embedding)


def _row(item: Recording | Reject, embedding: Embedding) -> dict[str, Any]:
    seconds, quality = embedding.speech_seconds, embedding.quality
    return {
        "recording": _name(item),
        "speaker": (item.speaker or None) if isinstance(item, Recording) else None,
        "status": embedding.status,
        "speech_seconds": seconds if seconds == seconds else None,
        "snr_db": quality and quality.snr_db,
        "bandwidth_hz": quality and quality.bandwidth_hz,
        "clipped_fraction": quality and quality.clipped_fraction,
        "model_digest": embedding.model_digest,
        "embedding": embedding.vector if embedding.status == OK else None,
    }


def _name(item: Recording | Reject) -> str:
    return item.recording if isinstance(item, Recording) else item.file


def _wav(item: Recording | Reject, description: Description) -> bytes | str:
    """As `decode`; for what the listing rejected, the listing's reason."""
    if isinstance(item, Reject):
        return item.reason
    try:
        with open_locally(item.path) as path:
            return decode(path, description, item.start_seconds, item.end_seconds)
    except AudioError as error:
        return error.reason


def _join(parts: Sequence[Path], output: Path, schema: pa.Schema) -> None:
    with new_file(output, private=True) as new, pq.ParquetWriter(new, schema) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=schema))


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Makes the folder, and locks it against other processes.

    Raises:
        SwarError: another process has the lock.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    message = f"another process writes {folder}: wait for it to end"
    return locked(os.open(folder, os.O_RDONLY), held_message=message)


def _summary(file: Path, listing: Listing, description: Description) -> EmbeddedData:
    statuses: Counter[str] = Counter()
    for batch in pq.ParquetFile(file).iter_batches(columns=["status"]):
        statuses.update(batch["status"].to_pylist())
    left_out = Counter(each.reason for each in listing.rejects if not each.counts)
    return EmbeddedData(
        str(file),
        statuses.total(),
        dict(sorted(statuses.items())),
        dict(sorted(left_out.items())),
        description.model_digest,
    )
