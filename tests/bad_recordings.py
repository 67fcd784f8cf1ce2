"""A folder of speakers with every kind of odd and bad file that users have."""

import io
import os
import struct
import subprocess
from pathlib import Path
from typing import Final

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import soundfile

OK: Final = "ok"
GOOD_SPEAKERS: Final = ("asha", "bina", "chandra")
_SECONDS: Final = 3.0

Samples = npt.NDArray[np.float64]


def speech_like(seed: int, sample_rate: int, seconds: float = _SECONDS) -> Samples:
    """Harmonics of a gliding pitch in breath noise, in syllables of 4 Hz: float64 [samples].

    No two seeds sound alike, and no syllable pause is long enough to be removed.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch_hz = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 1) * time))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate
    voice = sum(
        np.sin(k * phase + rng.uniform(0, 6)) * rng.uniform(0.3, 1) / k for k in range(1, 7)
    )
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6))
    sound = syllables * (voice + 0.05 * rng.standard_normal(len(time)))
    return np.asarray(0.5 * sound / np.max(np.abs(sound)))


def encoded(
    samples: npt.ArrayLike, rate: int, container: str = "WAV", subtype: str | None = None
) -> bytes:
    """The bytes of a file that soundfile writes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(wav: bytes, container: str, *options: str) -> bytes:
    """The bytes of a file that ffmpeg writes to a pipe."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "-", *options]
    command += ["-f", container, "-"]
    return subprocess.run(command, input=wav, capture_output=True, check=True).stdout


def write_bad_recordings(folder: Path, sample_rate: int = 16_000, seed: int = 0) -> dict[str, str]:
    """Writes three good speakers and `odd`, whose files are odd, bad or both.

    Returns:
        Each file's name below `folder` to "ok" or the reason of its reject. Folders and
        links that are rejects are among them. `silent`, `no_speech`, `too_short` and `duplicate`
        are found by the pipeline, not by listing or decoding.
    """
    outcome: dict[str, str] = {}
    for number, speaker in enumerate(GOOD_SPEAKERS):
        (folder / speaker).mkdir(parents=True)
        for take in range(3):
            name = f"{speaker}/take {take}.wav"
            samples = speech_like(seed + 100 * (number + 1) + take, sample_rate)
            (folder / name).write_bytes(encoded(samples, sample_rate))
            outcome[name] = OK
    odd = folder / "odd"
    odd.mkdir()
    corpus = _Corpus(sample_rate, seed)
    for write in (_containers, _sample_formats, _faulty_samples, _broken_bytes, _headers, _names):
        write(corpus)
    for name, (content, expected) in corpus.files.items():
        (odd / name).write_bytes(content)
        outcome[f"odd/{name}"] = expected
    return outcome | _links_and_specials(folder, sample_rate, seed)


class _Corpus:
    """Collects files; every call of `speech` gives another recording."""

    def __init__(self, sample_rate: int, seed: int) -> None:
        self.rate = sample_rate
        self.files: dict[str, tuple[bytes, str]] = {}
        self._seed = seed + 1_000

    def add(self, name: str, content: bytes, expected: str = OK) -> None:
        self.files[name] = (content, expected)

    def speech(self, rate: int | None = None) -> Samples:
        self._seed += 1
        return speech_like(self._seed, rate or self.rate)

    def wav(self, subtype: str = "PCM_16") -> bytes:
        return encoded(self.speech(), self.rate, subtype=subtype)


def _containers(corpus: _Corpus) -> None:
    for container in ("AIFF", "AU", "CAF", "FLAC", "RF64", "W64"):
        name = f"container.{container.lower()}"
        corpus.add(name, encoded(corpus.speech(), corpus.rate, container, "PCM_16"))
    corpus.add("vorbis.ogg", encoded(corpus.speech(), corpus.rate, "OGG", "VORBIS"))
    corpus.add("gsm.wav", encoded(corpus.speech(8_000), 8_000, "WAV", "GSM610"))
    corpus.add("opus.ogg", encoded(corpus.speech(), corpus.rate, "OGG", "OPUS"))
    corpus.add("layer3.mp3", encoded(corpus.speech(), corpus.rate, "MP3"))
    mp4 = ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")
    corpus.add("aac.m4a", by_ffmpeg(corpus.wav(), "mp4", *mp4))
    corpus.add("adts.aac", by_ffmpeg(corpus.wav(), "adts", "-c:a", "aac"))
    corpus.add("opus.webm", by_ffmpeg(corpus.wav(), "webm", "-c:a", "libopus"))
    corpus.add("windows media.wma", by_ffmpeg(corpus.wav(), "asf", "-c:a", "wmav2"))
    corpus.add("piped.flac", by_ffmpeg(corpus.wav(), "flac"))
    tagged = ("-q:a", "4", "-write_xing", "0", "-id3v2_version", "3", "-metadata", "title=odd")
    variable = by_ffmpeg(corpus.wav(), "mp3", *tagged)
    corpus.add("variable rate without length.mp3", variable)
    more = by_ffmpeg(corpus.wav(), "mp3", *tagged)
    corpus.add("tags and garbage.mp3", more + b"TAG" + b"x" * 125 + b"garbage" * 300)
    picture = ("-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=1", "-map", "1:v")
    video = by_ffmpeg(corpus.wav(), "matroska", *picture, "-c:v", "mpeg4")
    corpus.add("video without sound.mkv", video, "not_audio")
    corpus.add("UPPER.WAV", corpus.wav())
    corpus.add("no extension", corpus.wav())
    corpus.add("named raw.raw", corpus.wav())
    corpus.add("flac named mp3.mp3", encoded(corpus.speech(), corpus.rate, "FLAC"))


def _sample_formats(corpus: _Corpus) -> None:
    for subtype in ("PCM_U8", "PCM_24", "PCM_32", "DOUBLE", "ULAW"):
        corpus.add(f"{subtype.lower()}.wav", corpus.wav(subtype))
    loud = encoded(6.0 * corpus.speech(), corpus.rate, subtype="FLOAT")
    corpus.add("float with peaks of 3.wav", loud)
    channels = np.stack([corpus.speech() for _ in range(6)], axis=1)
    corpus.add("six channels.wav", encoded(channels, corpus.rate))
    for rate in (4_000, 8_000, 44_100, 192_000):
        corpus.add(f"{rate} Hz.wav", encoded(corpus.speech(rate), rate))
    corpus.add("quiet.wav", encoded(1e-2 * corpus.speech(), corpus.rate, subtype="FLOAT"))
    corpus.add("speech on dc.wav", encoded(0.3 + corpus.speech(), corpus.rate, subtype="FLOAT"))


def _faulty_samples(corpus: _Corpus) -> None:
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        samples = corpus.speech()
        samples[len(samples) // 2] = value
        content = encoded(samples, corpus.rate, subtype="FLOAT")
        corpus.add(f"{name}.wav", content, "nan_samples")
    corpus.add("zeros.wav", encoded(np.zeros(2 * corpus.rate), corpus.rate), "silent")
    faint = 1e-4 * corpus.speech()
    corpus.add("faint.wav", encoded(faint, corpus.rate, subtype="FLOAT"), "silent")
    corpus.add("dc.wav", encoded(np.full(2 * corpus.rate, 0.25), corpus.rate), "silent")
    hiss = 0.1 * np.random.default_rng(0).standard_normal(2 * corpus.rate)
    corpus.add("hiss.wav", encoded(hiss, corpus.rate), "no_speech")
    short = corpus.speech()[: corpus.rate // 100]
    corpus.add("10 ms.wav", encoded(short, corpus.rate), "too_short")
    corpus.add("one sample.wav", encoded(np.full(1, 0.5), corpus.rate), "too_short")
    corpus.add("no sample.wav", encoded(np.zeros(0), corpus.rate), "no_samples")
    corpus.add("same audio once.wav", corpus.wav())
    corpus.add("same audio twice.wav", corpus.files["same audio once.wav"][0], "duplicate")


def _broken_bytes(corpus: _Corpus) -> None:
    corpus.add("empty.wav", b"", "empty_file")
    corpus.add("text.wav", b"This is not a recording.\n" * 100, "not_audio")
    corpus.add("page.mp3", b"<!DOCTYPE html><html><p>404</p></html>" * 50, "not_audio")
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\b\2\0\0\0"
    corpus.add("picture.mp3", png + np.random.default_rng(0).bytes(4_000), "not_audio")
    corpus.add("noise.wav", np.random.default_rng(1).bytes(50_000), "not_audio")
    corpus.add("truncated header.wav", corpus.wav()[:20], "unreadable")
    corpus.add("header only.wav", corpus.wav()[:44], "truncated")
    for name, container in (("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")):
        whole = encoded(corpus.speech(), corpus.rate, container)
        corpus.add(f"truncated.{name}", whole[: len(whole) // 2], "truncated")
    for name, container, codec in (
        ("aac", "adts", "aac"),
        ("webm", "webm", "libopus"),
        ("wma", "asf", "wmav2"),
    ):
        whole = by_ffmpeg(corpus.wav(), container, "-c:a", codec)
        corpus.add(f"truncated.{name}", whole[: len(whole) // 2], "truncated")
    corpus.add("odd byte count.wav", corpus.wav()[:-1])


def _headers(corpus: _Corpus) -> None:
    def patched(offset: int, layout: str, value: int) -> bytes:
        content = bytearray(corpus.wav())
        struct.pack_into(layout, content, offset, value)
        return bytes(content)

    corpus.add("zero channels.wav", patched(22, "<H", 0), "unreadable")
    corpus.add("zero sample rate.wav", patched(24, "<I", 0), "unreadable")
    corpus.add("1 Hz.wav", patched(24, "<I", 1), "unreadable")
    corpus.add("claims 4 GB.wav", patched(40, "<I", 0xFFFF_FFF0))
    corpus.add("claims 200 KB.wav", patched(40, "<I", 200_000), "truncated")
    content = patched(40, "<I", 0)
    corpus.add("recorder that died.wav", content[:4] + b"\0" * 4 + content[8:])
    corpus.add("recorded to a pipe.wav", patched(40, "<I", 0xFFFF_FFFF))
    content = corpus.wav()
    tag = b"LIST" + struct.pack("<I", 28) + b"INFOISFT" + struct.pack("<I", 15) + b"x" * 15 + b"\0"
    corpus.add("list chunk first.wav", content[:12] + tag + content[12:])
    content = corpus.wav()
    odd = b"junk" + struct.pack("<I", 7) + b"1234567\0"
    corpus.add("odd chunk size.wav", content[:36] + odd + content[36:])


def _names(corpus: _Corpus) -> None:
    for name in (
        "आवाज़ é 声.wav",
        " spaces  around .wav ",
        "new\nline.wav",
        "glob *?[a-z]{b}.wav",
        "quotes ' \" `.wav",
        "-leading dash.wav",
        "100% #1 & $HOME;\\.wav",
        "n" * 251 + ".wav",
    ):
        corpus.add(name, corpus.wav())
    corpus.add(".hidden.wav", corpus.wav(), "hidden")


def _links_and_specials(folder: Path, sample_rate: int, seed: int) -> dict[str, str]:
    odd = folder / "odd"
    elsewhere = folder / ".elsewhere"  # hidden, so that no speaker owns what lies there
    elsewhere.mkdir()
    outcome = {".elsewhere": "hidden"}

    def recording(number: int) -> bytes:
        return encoded(speech_like(seed + 2_000 + number, sample_rate), sample_rate)

    (elsewhere / "good.wav").write_bytes(recording(0))
    (odd / "link.wav").symlink_to(elsewhere / "good.wav")
    (odd / "broken link.wav").symlink_to("nowhere.wav")
    (odd / "link to itself.wav").symlink_to("link to itself.wav")
    (odd / "link to its folder").symlink_to(odd)
    (odd / "folder.wav").mkdir()
    (odd / "nested" / "deeper").mkdir(parents=True)
    (odd / "nested" / "deeper" / "take.wav").write_bytes(recording(1))
    os.mkfifo(odd / "pipe.wav")
    (odd / "device.wav").symlink_to("/dev/zero")
    (odd / "etc").symlink_to("/etc")
    (odd / "hostname.wav").symlink_to("/etc/hostname")
    Path(os.fsdecode(os.fsencode(odd) + b"/latin \xe9.wav")).write_bytes(recording(2))
    (folder / "notes.txt").write_text("Recorded in spring.\n")
    outcome |= {
        "odd/link.wav": OK,
        "odd/broken link.wav": "broken_link",
        "odd/link to itself.wav": "circular_link",
        "odd/link to its folder": "circular_link",
        "odd/folder.wav": "empty_folder",
        "odd/nested/deeper/take.wav": OK,
        "odd/pipe.wav": "not_a_file",
        "odd/device.wav": "not_a_file",
        "odd/etc": "outside_link",
        "odd/hostname.wav": "outside_link",
        "odd/latin \\xe9.wav": "name_not_utf8",
        "notes.txt": "outside_speaker",
    }
    if os.geteuid() != 0:  # permissions do not bind root
        forbidden = odd / "forbidden.wav"
        forbidden.write_bytes(recording(3))
        forbidden.chmod(0)
        outcome["odd/forbidden.wav"] = "unreadable"
    return outcome
