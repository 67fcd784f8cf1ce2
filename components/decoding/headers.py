"""Replaces headers that recorders left unfinished by ones that a decoder can use.

A recorder that writes to a pipe, or is killed, leaves sizes of zero or the largest ones. As in
`wav.read_header` of the served model, such a size means "to the end of the file".
"""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

OPEN_ENDED_BYTES: Final = 2**30
"""A size this large that the file does not hold is no real one: recorders write 0xFFFFFFFF,
0x7FFFFFFF, 2,000,000,000 or the like for an unknown size."""
MAX_CHUNKS: Final = 128
"""Most chunks of a WAV, AIFF or CAF up to its samples, as in `wav`."""
UNPADDED_CHUNKS: Final = (b"fmt ", b"data", b"LIST", b"fact", b"bext")
"""Names that, right behind a chunk of an odd size, show that its padding is missing."""
_UNKNOWN: Final = 0xFFFF_FFFF
_MOST_HEADER_BYTES: Final = 2**16


class FileBytes:
    """Bytes of a file by their position, read in large parts.

    Attributes:
        size: bytes of the file.
    """

    _PART_BYTES: Final = 2**18

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._start, self._part = 0, b""
        self.size = os.fstat(self._descriptor).st_size

    def at(self, start: int, size: int) -> bytes:
        """At most `size` bytes from `start`, none beyond the end, whatever a header declares."""
        if start >= self.size:
            return b""
        end = start + size
        if not self._start <= start or end > self._start + len(self._part):
            self._start = start
            self._part = os.pread(self._descriptor, max(size, self._PART_BYTES), start)
        return self._part[start - self._start : end - self._start]


@dataclass(frozen=True)
class MendedHeader:
    """A replacement of a file's header."""

    content: bytes
    """Replaces all bytes before the first sample."""
    data_start: int
    """Position of the first sample in the original file, in bytes."""


class MendedFile(io.RawIOBase):
    """A readable and seekable file with another header."""

    def __init__(self, file: BinaryIO, header: MendedHeader) -> None:
        self._file = FileBytes(file)
        self._header = header
        self._position = 0
        self._size = len(header.content) + max(0, self._file.size - header.data_start)

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As of any file; returns the new position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer, /) -> int:  # type: ignore[no-untyped-def]  # any writable buffer
        """As of any file, but fills the whole buffer unless the file ends."""
        view = memoryview(buffer).cast("B")
        head = self._header.content[self._position : self._position + len(view)]
        rest = b""
        if len(head) < len(view):
            behind = self._position + len(head) - len(self._header.content)
            rest = self._file.at(self._header.data_start + behind, len(view) - len(head))
        content = head + rest
        view[: len(content)] = content
        self._position += len(content)
        return len(content)


def is_open_ended(declared: int, held: int) -> bool:
    """Whether a size in bytes that the file does not hold means "to the end"."""
    return declared > held and declared >= OPEN_ENDED_BYTES


def mended_header(file: BinaryIO) -> MendedHeader | None:
    """A header with the real sizes, for a file with sizes that no decoder takes.

    None if libsndfile takes the header as it is, or the file is no WAV, AU, AIFF or CAF.
    """
    content = FileBytes(file)
    magic, form = content.at(0, 4), content.at(8, 4)
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form == b"WAVE":
        return _wav(content, ">" if magic == b"RIFX" else "<")
    if magic in (b".snd", b"dns."):
        return _au(content, ">" if magic == b".snd" else "<")
    if magic == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _aiff(content)
    if magic == b"caff":
        return _caf(content)
    return None


def _number(content: FileBytes, start: int, layout: str) -> int:
    """The number at a position; 0 beyond the end."""
    size = struct.calcsize(layout)
    (value,) = struct.unpack(layout, content.at(start, size).ljust(size, b"\0"))
    return int(value)


def _wav(content: FileBytes, order: str) -> MendedHeader | None:
    """A minimal header, if the size of the samples is unknown or a chunk lacks its padding."""
    position, is_unpadded = 12, False
    described, declared_long = b"", None
    for _ in range(MAX_CHUNKS):
        name, size = content.at(position, 4), _number(content, position + 4, f"{order}I")
        start = position + 8
        if name == b"data" or start > content.size:
            break
        if name == b"fmt ":
            described = content.at(start, min(size, _MOST_HEADER_BYTES))
        elif name == b"ds64":
            declared_long = _number(content, start + 8, "<Q")
        position = start + size
        if size % 2:
            # RIFF chunks start at even bytes; some writers forget the padding.
            is_next = content.at(position, 4) in UNPADDED_CHUNKS
            is_unpadded |= is_next
            position += 0 if is_next else 1
    if name != b"data" or not described:
        return None
    riff_size, held = _number(content, 4, f"{order}I"), content.size - start
    if size == _UNKNOWN and declared_long is not None:
        is_open = declared_long == 0
    else:
        is_open = size == 0 and (riff_size == _UNKNOWN or riff_size + 8 <= start)
    if held <= 0 or not (is_open or is_unpadded):
        return None
    size = min(held, _UNKNOWN - 2**16) if is_open else size
    described += b"\0" * (len(described) % 2)
    body = b"WAVEfmt " + struct.pack(f"{order}I", len(described)) + described
    body += b"data" + struct.pack(f"{order}I", size)
    magic = b"RIFX" if order == ">" else b"RIFF"
    total = min(len(body) + size, _UNKNOWN)
    return MendedHeader(magic + struct.pack(f"{order}I", total) + body, start)


def _au(content: FileBytes, order: str) -> MendedHeader | None:
    """The file's header with AU's size for "unknown", which libsndfile takes."""
    start, size = (_number(content, at, f"{order}I") for at in (4, 8))
    held = content.size - start
    is_open = size != _UNKNOWN and (size == 0 or is_open_ended(size, held))
    if not (is_open and 24 <= start <= _MOST_HEADER_BYTES and held > 0):
        return None
    head = content.at(0, start)
    return MendedHeader(head[:8] + struct.pack(f"{order}I", _UNKNOWN) + head[12:], start)


def _aiff(content: FileBytes) -> MendedHeader | None:
    """The file's own header up to its samples, with their real size."""
    position = 12
    for _ in range(MAX_CHUNKS):
        name, size = content.at(position, 4), _number(content, position + 4, ">I")
        if name == b"SSND" or position > content.size:
            break
        position += 8 + size + size % 2
    start = position + 16 + _number(content, position + 8, ">I")
    held = content.size - start
    # An offset and a block size of 4 bytes each stand in front of the samples.
    if name != b"SSND" or size != 8 or held <= 0 or start > _MOST_HEADER_BYTES:
        return None
    head = bytearray(content.at(0, start))
    whole = min(_UNKNOWN, content.size - 8)
    struct.pack_into(">I", head, 4, whole)
    struct.pack_into(">I", head, position + 4, min(_UNKNOWN, content.size - position - 8))
    return MendedHeader(bytes(head), start)


def _caf(content: FileBytes) -> MendedHeader | None:
    """The file's own header up to its samples, with their real size."""
    position = 8
    for _ in range(MAX_CHUNKS):
        name, size = content.at(position, 4), _number(content, position + 4, ">q")
        if name == b"data" or position > content.size or size < 0:
            break
        position += 12 + size
    start = position + 16  # an edit count of 4 bytes stands in front of the samples
    held = content.size - start
    is_open = size in (-1, 0, 4) or is_open_ended(size - 4, held)
    if name != b"data" or not is_open or held <= 0 or start > _MOST_HEADER_BYTES:
        return None
    head = bytearray(content.at(0, start))
    struct.pack_into(">q", head, position + 4, held + 4)
    return MendedHeader(bytes(head), start)
