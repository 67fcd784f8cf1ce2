"""Compares the length that a recording's header declares with what the file holds."""

import math
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import soundfile

from components.decoding.errors import TRUNCATED, AudioError
from components.decoding.headers import FileBytes, is_open_ended, mended_header

_UNKNOWN_FRAMES: Final = 2**63 - 1  # libsndfile's SF_COUNT_MAX
# Padding, odd byte counts and encoder delay are no lost speech.
_SLACK_BYTES: Final = 1_024
SLACK_FRAMES: Final = 2 * 1_152  # two MPEG frames
_TOLERANCE: Final = 0.01  # of the frames that an MP3's header declares

_SHORT_CHUNK: Final = re.compile(
    r"^\s*(?:(?:data|SSND|BODY|Data Size|riff)\s*: (\d+) \(|Data length (\d+) )should be (\d+)",
    re.MULTILINE,
)
_SHORT_DS64: Final = re.compile(
    r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)"
)
_FRAMES_IN_LOG: Final = re.compile(r"\b(?:Frames|Cols)\s*: (\d+)")
_COUNTING_FORMATS: Final = ("AVR", "MAT4", "MAT5", "MPC2K")
_VOC_BLOCKS: Final = range(1, 10)  # the types of Creative's Voice; 0 ends the file
# NIST SPHERE: a header of 1,024 bytes of text, with the samples of each channel.
_NIST_NUMBER: Final = re.compile(rb"^(\w+) -\w+ (\d+)\s*$", re.MULTILINE)
_NIST_NUMBERS: Final = frozenset({b"sample_count", b"channel_count", b"sample_n_bytes"})
_NIST_PLAIN: Final = re.compile(rb"^sample_coding -s\d+ (?:pcm|ulaw|mu-law|alaw)\s*$", re.MULTILINE)
_FORMS: Final = (b"RIFF", b"RIFX", b"FORM", b"caff")  # first bytes of files
_FLAC_STARTS: Final = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
# Walks end after this many steps in hostile files: about ten hours of sound.
_MOST_STEPS: Final = 1_500_000


def check_all_there(file: BinaryIO, sound: soundfile.SoundFile) -> None:
    """Raises AudioError, `truncated`, if the header declares more than the file holds.

    libsndfile reduces the frame count to what is there, and tells so only in its log.
    """
    log = sound.extra_info
    for declared, held in ((int(a or b), int(c)) for a, b, c in _SHORT_CHUNK.findall(log)):
        if declared - held > _SLACK_BYTES and not is_open_ended(declared, held):
            message = f"holds {held} of the {declared} bytes of samples that it declares"
            raise AudioError(TRUNCATED, message)
    counted = [(int(a), int(b)) for a, b in _SHORT_DS64.findall(log)]
    if sound.format in _COUNTING_FORMATS:
        counted += [(sound.frames, int(each)) for each in _FRAMES_IN_LOG.findall(log)[-1:]]
    for held, declared in counted:
        if declared - held > SLACK_FRAMES:
            message = f"holds {held} of the {declared} frames that it declares"
            raise AudioError(TRUNCATED, message)
    if sound.format == "SDS" and not _has_whole_sds_packets(FileBytes(file)):
        raise AudioError(TRUNCATED, "breaks off: a packet is not whole, or does not begin as one")
    if sound.format == "OGG" and not _has_last_ogg_page(FileBytes(file)):
        raise AudioError(TRUNCATED, "breaks off: no Ogg page at its end is marked as the last")


def reads_whole(file: BinaryIO, sound: soundfile.SoundFile) -> bool:
    """Whether libsndfile reads the file correctly to its end.

    It cannot seek in a FLAC that was written to a pipe, and stops after the first of several
    joined FLAC, Ogg or MP3 files. It takes what stands between a VOC's blocks for samples. For
    the length of an MP3 it trusts the header or, without one, guesses from the first bit rate,
    which loses half of a file with a variable one.
    """
    content = FileBytes(file)
    if sound.format == "FLAC":
        return sound.frames != _UNKNOWN_FRAMES and not _has_second_flac(content)
    if sound.format == "OGG":
        return sound.frames != _UNKNOWN_FRAMES and not _has_second_ogg(content)
    if sound.format == "MP3":
        return _mp3_is_as_declared(content)
    return sound.frames != _UNKNOWN_FRAMES and "multi-segment" not in sound.extra_info


def bytes_behind(file: BinaryIO) -> int:
    """Bytes beyond the declared end of a WAV, AU, AIFF or CAF: a joined file, or more samples.

    Chunks behind the samples, such as a list of tags, belong to the file. It is 0 for other files,
    and if the header does not declare the end.

    Raises:
        AudioError: one of these, or a NIST or VOC file, holds less than it declares.
    """
    content = FileBytes(file)
    magic, form = content.at(0, 4), content.at(8, 4)
    if mended_header(file):
        return 0
    if magic in (b"RIFF", b"RIFX") and form == b"WAVE":
        end = _end_of_chunks(content, 12, ">4sI" if magic == b"RIFX" else "<4sI", b"data")
    elif magic == b"FORM" and form in (b"AIFF", b"AIFC"):
        end = _end_of_chunks(content, 12, ">4sI", b"SSND")
    elif magic == b"caff":
        end = _end_of_chunks(content, 8, ">4sq", b"data")
    elif magic in (b".snd", b"dns."):
        start, size = struct.unpack(">2I" if magic == b".snd" else "<2I", content.at(4, 8))
        end = start + size
    elif magic == b"NIST":  # libsndfile reads to the end anyway
        end = max(content.size, _end_of_nist(content))
    elif magic == b"Crea" and content.size < 2**24:  # larger sizes wrap in some
        end = max(content.size, _end_of_voc(content))
    else:
        return 0
    if end - content.size > _SLACK_BYTES and not is_open_ended(end, content.size):
        message = f"breaks off: holds {content.size} of the {end} bytes that it declares"
        raise AudioError(TRUNCATED, message)
    return max(0, content.size - end)


def _end_of_nist(content: FileBytes) -> int:
    """The declared end of the samples if they are not compressed; else 0."""
    head = content.at(0, 1_024)
    numbers = {name: int(value) for name, value in _NIST_NUMBER.findall(head)}
    if not _NIST_PLAIN.search(head) or not numbers.keys() >= _NIST_NUMBERS:
        return 0
    return len(head) + math.prod(numbers[name] for name in _NIST_NUMBERS)


def _end_of_voc(content: FileBytes) -> int:
    """The position behind the last block; 0 if something else stands between blocks."""
    position = int.from_bytes(content.at(20, 2), "little")
    for _ in range(_MOST_STEPS):
        head = content.at(position, 4)
        if not head or head[0] not in _VOC_BLOCKS:
            return position if head[:1] in (b"", b"\0") else 0
        position += 4 + int.from_bytes(head[1:], "little")
    return position


def _end_of_chunks(content: FileBytes, position: int, layout: str, samples: bytes) -> int:
    """The position behind the samples' chunk and those that follow it, or the end of the file.

    Args:
        content: the file.
        position: position of the first chunk.
        layout: struct's format of a chunk's name and size; with 4-byte sizes, chunks are padded
            to even lengths.
        samples: name of the samples' chunk.
    """
    head_bytes, has_samples = struct.calcsize(layout), False
    for _ in range(_MOST_STEPS):
        if position + head_bytes > content.size:
            break
        name, size = struct.unpack(layout, content.at(position, head_bytes))
        is_chunk = name.isascii() and name.decode("ascii").isprintable() and name not in _FORMS
        if has_samples and not (is_chunk and 0 <= size <= content.size - position):
            break
        if size < 0:  # CAF's "to the end of the file"
            return content.size
        has_samples |= name == samples
        position += head_bytes + size + (size % 2 if head_bytes == 8 else 0)
    return position if has_samples else content.size


def _has_whole_sds_packets(content: FileBytes) -> bool:
    """Whether packets of 127 bytes follow the header of 21 (MIDI Sample Dump Standard).

    About anything else libsndfile writes lines to the output of this process.
    """
    packets = range(21, content.size, 127)
    begin_as_one = all(content.at(at, 2) == b"\xf0\x7e" for at in packets)
    return begin_as_one and (content.size - 21) % 127 == 0


def _has_last_ogg_page(content: FileBytes) -> bool:
    """Whether the last page, in the last 128 KiB, is whole and marked as the end of its stream
    (RFC 3533, section 6). Each of several joined recordings has such a page."""
    tail = content.at(max(0, content.size - 2**17), 2**17)
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    return len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _has_second_ogg(content: FileBytes) -> bool:
    """Whether a stream begins after pages of another one (RFC 3533, section 4: chaining)."""
    position, has_begun = 0, False
    for _ in range(_MOST_STEPS):
        head = content.at(position, 27)
        if len(head) < 27 or head[:5] != b"OggS\0":
            return False
        is_first = bool(head[5] & 2)
        if is_first and has_begun:
            return True
        has_begun |= not is_first
        position += 27 + head[26] + sum(content.at(position + 27, head[26]))
    return False


def _has_second_flac(content: FileBytes) -> bool:
    """Whether a second marker and STREAMINFO block follow the first ones."""
    part_bytes, overlap = 2**20, len(_FLAC_STARTS[0]) - 1
    first = _behind_tags(content, 0)
    for start in range(first + 1, content.size, part_bytes):
        part = content.at(start, part_bytes + overlap)
        if any(marker in part for marker in _FLAC_STARTS):
            return content.at(first, 4) == b"fLaC"
    return False


class _MpegFrame(NamedTuple):
    size: int
    side_bytes: int
    """Bytes of side information, after which a first frame may describe the file."""


# MPEG audio layers I to III, ISO 11172-3 and 13818-3: kbit/s by the index in the header.
_BIT_RATES: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES_HZ: Final = (44_100, 48_000, 32_000)


def _mpeg_frame(header: bytes) -> _MpegFrame | None:
    """Parses the four bytes of a frame's header; None if they are no header."""
    word = int.from_bytes(header, "big")
    version_bits, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bit_rate, rate = word >> 12 & 15, word >> 10 & 3
    is_frame = len(header) == 4 and word >> 21 == 0x7FF and version_bits != 1 and layer != 4
    if not is_frame or bit_rate in (0, 15) or rate == 3:
        return None
    version = 1 if version_bits == 3 else 2
    hertz = _MPEG_RATES_HZ[rate] // {3: 1, 2: 2, 0: 4}[version_bits]
    samples = {1: 384, 2: 1_152, 3: 1_152 if version == 1 else 576}[layer]
    slot = 4 if layer == 1 else 1
    size = samples * 1_000 * _BIT_RATES[version, layer][bit_rate - 1] // (8 * slot * hertz)
    is_mono = word >> 6 & 3 == 3
    side_bytes = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[version, is_mono]
    return _MpegFrame(slot * (size + (word >> 9 & 1)), side_bytes)


def _behind_tags(content: FileBytes, position: int) -> int:
    """The position behind any tags: ID3v2 in front (id3.org, ID3v2.4 section 3.1: a size of
    seven-bit bytes), and ID3v1 and APEv2 at the end of the first of two joined files."""
    for _ in range(_MOST_STEPS):
        head = content.at(position, 16)
        if head[:3] == b"ID3" and len(head) >= 10:
            position += 10 + sum(byte << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
        elif head[:3] == b"TAG":
            position += 128
        elif head[:8] == b"APETAGEX" and len(head) == 16:
            position += 32 + int.from_bytes(head[12:], "little")
        else:
            break
    return position


def _mpeg_frames(content: FileBytes, position: int) -> Iterator[_MpegFrame]:
    """The frames from a position on, also behind further tags, until something else follows."""
    for _ in range(_MOST_STEPS):
        frame = _mpeg_frame(content.at(position, 4))
        if frame is None:
            behind = _behind_tags(content, position)
            if behind == position:
                return
            position = behind
        else:
            yield frame
            position += frame.size


def _mp3_is_as_declared(content: FileBytes) -> bool:
    """Whether a header declares the number of frames, and the file has no more."""
    start = _behind_tags(content, 0)
    head = content.at(start, 2_048)
    frames = _mpeg_frames(content, start)
    first = next(frames, None)
    if first is None:  # padding in front
        return b"Xing" in head or b"Info" in head
    declared = _declared_mp3_frames(head, first.side_bytes)
    if declared is None:
        return False
    return sum(1 for _ in frames) <= declared + max(2.0, _TOLERANCE * declared)


def _declared_mp3_frames(frame: bytes, side_bytes: int) -> int | None:
    """The number of frames in a first frame's Xing or Info header; None if there is none.

    With Fraunhofer's VBRI header libsndfile guesses the length, and may leave out the end.
    """
    xing = frame[4 + side_bytes :]
    if xing[:4] not in (b"Xing", b"Info") or len(xing) < 12 or not xing[7] & 1:
        return None
    return int.from_bytes(xing[8:12], "big")
