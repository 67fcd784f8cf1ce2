"""Lists the input: its recordings, their speakers, and the files that are none.

The input is a folder `DATA/<speaker>/<any audio file>`, or a manifest, on any filesystem that
Beam knows. Nothing is decoded here.
"""

import functools
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from components.errors import SwarError
from components.paths import check_present
from components.recordings import tables
from components.recordings.files import (
    COMPANION,
    HIDDEN,
    File,
    Reject,
    companion,
    entries_of,
    entry_state,
    files_below,
    hidden,
    is_hidden,
    is_remote,
    leads_out,
    no_filesystem,
    read_text,
    remote_files,
    state,
)
from components.recordings.listing import (
    Found,
    Listing,
    Recording,
    Span,
    check_cuts,
    data_digest,
    level_remarks,
    no_speaker,
)
from components.recordings.spans import is_pattern, spans_of
from components.recordings.tables import (
    SPEAKERS_FILES,
    ManifestRow,
    NameSpellings,
    Remark,
    SpeakersTable,
)

__all__ = ["Listing", "Recording", "Reject", "data_digest", "list_recordings"]


def list_recordings(
    data: str, rolling_spans: int | None = None, *, follow_outside_links: bool = False
) -> Listing:
    """Lists a folder of speakers' folders, or a `.csv` or `.tsv` manifest, without decoding.

    Args:
        data: one of these, or a pattern of spans of them, such as `DATA/{YYYY}-{MM}-{DD}`. A
            speaker may have recordings in many spans.
        rolling_spans: how many of the newest spans; None for all.
        follow_outside_links: whether links in a local folder that lead out of it are followed;
            else each of them is a reject.

    Raises:
        SwarError: the input is missing or has no speaker's folder, cuts of a file overlap, or a
            table is wrong, whose line and column are named.
    """
    list_one = functools.partial(_found, follow_outside_links=follow_outside_links)
    if is_pattern(data):
        return _listing(*spans_of(data, rolling_spans, list_one, follow_outside_links))
    if rolling_spans is not None:
        raise SwarError(
            f"speech.rolling_spans is {rolling_spans}, and {data!r} has no spans: give a pattern "
            "such as DATA/{YYYY}-{MM}-{DD}, or set it to null"
        )
    return _listing(list_one(data))


def _listing(found: Iterable[Found], spans: Sequence[Span] = ()) -> Listing:
    owned = list(found)
    recordings = [item for _, item in owned if isinstance(item, Recording)]
    rejects = [item for _, item in owned if isinstance(item, Reject)]
    check_cuts(recordings)
    return Listing(
        tuple(sorted(recordings, key=lambda item: item.recording)),
        tuple(sorted(rejects, key=lambda item: (item.file, item.reason))),
        frozenset(speaker for speaker, _ in owned if speaker is not None),
        tuple(spans),
        tuple(dict.fromkeys(item.text for _, item in owned if isinstance(item, Remark))),
    )


def _found(data: str, *, follow_outside_links: bool) -> Iterator[Found]:
    remote = is_remote(data)
    check_present(data)
    if tables.is_manifest_name(data) and (remote or not Path(data).is_dir()):
        return _manifest(data)
    if remote:
        return _remote_folder(data.rstrip("/"))
    if Path(data).is_dir():
        return _local_folder(Path(data).absolute(), follow_outside_links)
    raise SwarError(f"{data!r} is no folder, .csv or .tsv: name a folder or a manifest")


def _local_folder(root: Path, follow_outside_links: bool) -> Iterator[Found]:
    entries = entries_of(root)
    within = None if follow_outside_links else root
    own = [
        name
        for name in SPEAKERS_FILES
        if (root / name).is_file() and (within is None or not leads_out(root / name, within))
    ]
    table = tables.read_speakers(str(root), own)
    spellings = NameSpellings()
    speakers: set[str] = set()
    names: list[str] = []
    for entry in entries:
        status = entry_state(entry, entry.name, within)
        if isinstance(status, Reject):
            yield None, status
        elif stat.S_ISDIR(status.st_mode):
            items = list(files_below(root, entry.name, within=within))
            items = [_companion_or_file(item) for item in items]
            owner = None
            if not all(map(_is_uncounted, items)):  # an archive's __MACOSX is no speaker
                owner = spellings.name(entry.name)
                speakers.add(owner)
            for item in items:
                if isinstance(item, File) and owner is not None:
                    names.append(item.name)
                    yield owner, _of(owner, table, item)
                elif isinstance(item, Reject):
                    yield owner, item
        elif entry.name not in SPEAKERS_FILES:
            yield None, _outside(entry.name)
    yield from _conclusion(str(root), speakers, table, spellings, names)


def _remote_folder(root: str) -> Iterator[Found]:
    files = remote_files(root)
    table = tables.read_speakers(root, [file.name for file in files])
    spellings = NameSpellings()
    speakers: set[str] = set()
    names: list[str] = []
    for file in files:
        folder, slash, _ = file.name.partition("/")
        if any(map(is_hidden, file.name.split("/"))):
            yield None, hidden(file.name)
        elif slash and (beside := companion(file.name)) is not None:
            yield None, beside
        elif slash:
            speaker = spellings.name(folder)
            speakers.add(speaker)
            names.append(file.name)
            yield speaker, _of(speaker, table, file)
        elif file.name not in SPEAKERS_FILES:
            yield None, _outside(file.name)
    yield from _conclusion(root, speakers, table, spellings, names)


def _conclusion(
    root: str,
    speakers: set[str],
    table: SpeakersTable,
    spellings: NameSpellings,
    names: Sequence[str],
) -> Iterator[Found]:
    """Rejects and remarks about a whole folder."""
    if not speakers:
        raise no_speaker(root)
    for item in table.conclusions(speakers):
        yield None, item
    for remark in spellings.remarks() + level_remarks(root, names):
        yield None, remark


def _manifest(table: str) -> Iterator[Found]:
    folder = FileSystems.split(table)[0]
    manifest = tables.parse_manifest(read_text(table), table)
    for remark in manifest.remarks:
        yield None, remark
    for row in manifest.rows:
        file = _named(folder, row)
        if isinstance(file, Reject):
            yield row.speaker, file
            continue
        recording = Recording(
            path=file.path,
            speaker=row.speaker,
            gender=row.gender,
            recording=file.name,
            start_seconds=row.start_seconds,
            end_seconds=row.end_seconds,
            size_bytes=file.size_bytes,
            modified=file.modified,
            session=row.session,
            columns=row.columns,
        )
        yield row.speaker, recording


def _named(folder: str, row: ManifestRow) -> File | Reject:
    """The file that a row names, perhaps by another spelling."""
    first: Reject | None = None
    for path in tables.path_spellings(row.path):
        absolute = FileSystems.get_scheme(path) is not None or path.startswith("/")
        file = _listed(path if absolute else FileSystems.join(folder, path), row.recording)
        if isinstance(file, File) or file.reason != "missing":
            return file
        first = first or file
    assert first is not None
    return first


def _listed(path: str, name: str) -> File | Reject:
    if FileSystems.get_scheme(path) is None:
        local = Path(path).absolute()
        status = state(local, name)
        if isinstance(status, Reject):
            return status
        if stat.S_ISDIR(status.st_mode):
            return Reject(name, "not_a_file", None, "a folder")
        return File(name, str(local), status.st_size, status.st_mtime)
    try:
        found = FileSystems.get_filesystem(path).metadata(path)
    except ValueError as error:
        raise no_filesystem(path) from error
    except OSError as error:
        return Reject(name, "missing", None, str(error))
    return File(name, path, found.size_in_bytes, found.last_updated_in_seconds or None)


def _of(speaker: str, table: SpeakersTable, file: File) -> Recording:
    return Recording(
        path=file.path,
        speaker=speaker,
        gender=table.gender_of(speaker),
        recording=file.name,
        start_seconds=None,
        end_seconds=None,
        size_bytes=file.size_bytes,
        modified=file.modified,
        session=_session(file.name),
        columns=table.columns.get(speaker, {}),
    )


def _companion_or_file(item: File | Reject) -> File | Reject:
    return (companion(item.name) if isinstance(item, File) else None) or item


def _is_uncounted(item: File | Reject) -> bool:
    return isinstance(item, Reject) and item.reason in (HIDDEN, COMPANION)


def _session(name: str) -> str | None:
    """The session of `<speaker>/<session>/<file>`; None without that folder."""
    _, *folders, _ = name.split("/")
    return folders[0] if folders else None


def _outside(name: str) -> Reject:
    return Reject(name, "outside_speaker", None, "it lies in no speaker's folder")
