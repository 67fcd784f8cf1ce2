"""Changed recordings of every format through the decoder, the served reader and the base model.

`python -m benchmarks.fuzz [COUNT] [SEED]`: by default 20000 of each and seed 0. Exit status 1 if
one crashed, raised anything but the reason of a reject, or went beyond a bound.

Recordings are decoded in watched processes: a crash is counted, and a new process goes on. Ctrl-C
ends one of the three parts and shows its counts so far.
"""

import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Self

import imageio_ffmpeg
import numpy as np
import soundfile

from components import audio
from components.pcm16 import pack_wav, to_pcm16

COUNT: Final = 20_000
RATE: Final = 16_000
MAX_SECONDS: Final = 30.0
"""Bound of the decoded part of a recording."""
MOST_SECONDS: Final = 10.0
"""Processor time after which a recording counts as hanging."""
MOST_GROWN_BYTES: Final = 64 * 2**20
"""How much a recording may raise a process's peak memory, libraries included."""
MEMORY_BYTES: Final = 2 * 2**30
"""Address space of a process that decodes."""
IN_A_PROCESS: Final = 500
IN_A_REQUEST: Final = 8
SPEECH_SECONDS: Final = 3.0
"""Length of the recording that is changed for the model."""
_SECONDS: Final = 1.0
_OUTCOMES: Final = "outcomes.jsonl"
# Without a header (RAW), or with half of it in another file (SD2): bytes do not tell them.
_NOT_FILES: Final = ("RAW", "SD2")
_FRAGMENTED: Final = ("-movflags", "frag_keyframe+empty_moov")
_FFMPEG: Final = {
    "3gp": ("3gp", "-ar", "8000", "-c:a", "libopencore_amrnb", *_FRAGMENTED),
    "aac": ("adts", "-c:a", "aac"),
    "ac3": ("ac3", "-ar", "48000"),
    "alac.m4a": ("mp4", "-c:a", "alac", *_FRAGMENTED),
    "amr": ("amr", "-ar", "8000", "-c:a", "libopencore_amrnb"),
    "asf": ("asf", "-c:a", "wmav2"),
    "avi": ("avi", "-c:a", "libmp3lame"),
    "eac3": ("eac3", "-ar", "48000"),
    "flv": ("flv", "-ar", "44100", "-c:a", "libmp3lame"),
    "g722.wav": ("wav", "-c:a", "g722"),
    "m4a": ("mp4", "-c:a", "aac", *_FRAGMENTED),
    "mka": ("matroska", "-c:a", "flac"),
    "mp2": ("mp2", "-c:a", "mp2"),
    "mp3 without length": ("mp3", "-q:a", "4", "-write_xing", "0"),
    "piped flac": ("flac",),
    "ts": ("mpegts", "-c:a", "aac"),
    "tta": ("tta",),
    "voc": ("voc", "-c:a", "pcm_u8"),
    "webm": ("webm", "-c:a", "libopus"),
    "wv": ("wv",),
}
_NUMBERS: Final = (b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\0\0\0\1\0\0\0\1")


@dataclass(frozen=True)
class Outcome:
    """What became of one changed recording."""

    name: str
    """Name of its format."""
    reason: str
    """ok, the reason of a reject, or another exception."""
    seconds: float
    """Processor time that it took, including ffmpeg's."""
    samples: int
    peak_bytes: int
    """Peak resident memory of the process so far."""
    grown_bytes: int
    """How much the recording raised the peak."""

    @property
    def is_within_bounds(self) -> bool:
        """Whether it is good or a reject, within time and memory, and not longer than wanted."""
        is_reason = self.reason == self.reason.lower() and " " not in self.reason
        is_short = self.samples <= (MAX_SECONDS + 1.0) * RATE
        is_small = self.grown_bytes <= MOST_GROWN_BYTES
        return is_reason and is_short and is_small and self.seconds < MOST_SECONDS


@cache
def recordings() -> dict[str, bytes]:
    """One second of sound in over 80 formats, by the format's name."""
    made: dict[str, bytes] = {}
    for container in sorted(set(soundfile.available_formats()) - set(_NOT_FILES)):
        for subtype in sorted(soundfile.available_subtypes(container)):
            content = _by_libsndfile(container, subtype)
            if content is not None:
                made[f"{container} {subtype}"] = content
    wav = _by_libsndfile("WAV", "PCM_16")
    for name, (container, *options) in _FFMPEG.items():
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "-", *options]
        command += ["-f", container, "-"]
        done = subprocess.run(command, input=wav, capture_output=True, check=True)
        made[name] = done.stdout
    return made


def changed(content: bytes, generator: np.random.Generator) -> bytes:
    """The bytes with random and hostile changes, mostly near the beginning."""
    mutable = bytearray(content)
    for _ in range(int(generator.integers(1, 5))):
        near = min(len(mutable), int(generator.choice((64, 512, len(content)))))
        if near < 9:
            break
        at = int(generator.integers(near - 8))
        match int(generator.integers(6)):
            case 0:
                mutable[at] = int(generator.integers(256))
            case 1:
                mutable[at] ^= 1 << int(generator.integers(8))
            case 2:
                size = int(generator.choice((2, 4, 8)))
                mutable[at : at + size] = _NUMBERS[int(generator.integers(4))][:size]
            case 3:
                del mutable[at : at + int(generator.integers(1, 400))]
            case 4:
                mutable[at:at] = generator.bytes(int(generator.integers(1, 400)))
            case 5:
                del mutable[max(16, int(generator.integers(len(mutable) + 1))) :]
    return bytes(mutable)


def decoded(number: int, seed: int, path: Path) -> Outcome:
    """Changes a recording, writes it to `path` and decodes it; the number chooses its format."""
    made = recordings()
    name = list(made)[number % len(made)]
    path.write_bytes(changed(made[name], np.random.default_rng([seed, number])))
    used, samples = _Usage.now(), 0
    try:
        for block in audio.decode_blocks(path, sample_rate=RATE, max_seconds=MAX_SECONDS):
            samples += len(block)
        reason = "ok"
    except audio.AudioError as error:
        reason = error.reason
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return used.outcome(name, reason, samples)


def check_reader(count: int, seed: int) -> Iterator[Outcome]:
    """Changed WAVs through the graph that the served model reads them with."""
    import tensorflow as tf

    from components import wav

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def read(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        header = wav.read_header(content)
        return wav.read_mono(content, header), header.frames, header.channels

    names = [name for name in recordings() if name.startswith(("WAV", "WAVEX", "RF64"))]
    for number in range(count):
        name = names[number % len(names)] if number % 2 else "WAV PCM_16"
        content = changed(recordings()[name], np.random.default_rng([seed, number]))
        used = _Usage.now()
        try:
            samples, frames, channels = (each.numpy() for each in read(content))
            is_there = len(samples) == frames <= len(content) // (2 * channels)
            reason = "ok" if is_there else f"{frames} frames of {channels} channels"
        except tf.errors.OpError as error:
            samples, reason = np.zeros(0), f"{type(error).__name__}: {error.message}"
        yield used.outcome(name, reason, len(samples))


def check_model(count: int, seed: int) -> Iterator[Outcome]:
    """Changed WAVs of speech through the whole graph of the base model, eight in a request."""
    import tensorflow as tf

    from benchmarks.served_model import recordings as speech_of
    from components.model.base import base_model_folder

    embed = tf.saved_model.load(str(base_model_folder())).signatures["embed"]
    speech = pack_wav(to_pcm16(speech_of(RATE)[: round(SPEECH_SECONDS * RATE)]), RATE)
    embed(audio=tf.constant([speech] * IN_A_REQUEST))  # takes what memory the model needs
    for first in range(0, count, IN_A_REQUEST):
        numbers = range(first, min(count, first + IN_A_REQUEST))
        wavs = [changed(speech, np.random.default_rng([seed, number])) for number in numbers]
        used = _Usage.now()
        try:
            outputs = embed(audio=tf.constant(wavs))
            is_finite = np.isfinite(outputs["embedding"].numpy())
            statuses = [status.decode() for status in outputs["status"].numpy()]
            for status, finite in zip(statuses, is_finite, strict=True):
                is_right = finite.all() if status == "ok" else not finite.any()
                yield used.outcome("WAV", status if is_right else f"{status} with other numbers", 0)
        except tf.errors.OpError as error:
            for _ in wavs:
                yield used.outcome("WAV", f"{type(error).__name__}: {error.message}", 0)


class _Usage(NamedTuple):
    """What the process has used so far."""

    processor_seconds: float
    peak_bytes: int

    @classmethod
    def now(cls) -> Self:
        own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        seconds = sum(each.ru_utime + each.ru_stime for each in (own, children))
        return cls(seconds, 1024 * own.ru_maxrss)

    def outcome(self, name: str, reason: str, samples: int) -> Outcome:
        """The outcome of a recording begun at this usage and done now."""
        now = self.now()
        seconds = now.processor_seconds - self.processor_seconds
        grown_bytes = now.peak_bytes - self.peak_bytes
        return Outcome(name, reason, seconds, samples, now.peak_bytes, grown_bytes)


def _work(first: int, count: int, seed: int, folder: Path) -> None:
    """Prints a line of JSON for each recording, in its own process, where decoders may print."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with (folder / _OUTCOMES).open("w", buffering=1) as file:
        for number in range(first, first + count):
            file.write(json.dumps(asdict(decoded(number, seed, folder / "recording"))) + "\n")


def check_decoder(count: int, seed: int) -> Iterator[Outcome]:
    """Changed recordings through the decoder, in processes of bounded memory that may crash."""
    first = 0
    while first < count:
        wanted = min(IN_A_PROCESS, count - first)
        command = [sys.executable, "-P", "-m", "benchmarks.fuzz", "--work"]
        with tempfile.TemporaryDirectory(prefix="swar-fuzz-") as folder:
            numbers = map(str, (first, wanted, seed))
            done = subprocess.run([*command, *numbers, folder], capture_output=True, check=False)
            lines = (Path(folder) / _OUTCOMES).read_text().splitlines()
        outcomes = [Outcome(**json.loads(line)) for line in lines]
        yield from outcomes
        first += len(outcomes)
        if len(outcomes) < wanted:
            made = list(recordings())
            name = made[first % len(made)]
            yield Outcome(name, f"CRASH {done.returncode} at {first}", 0.0, 0, 0, 0)
            first += 1


def _show(title: str, outcomes: Iterator[Outcome]) -> bool:
    """Prints the counts; gives whether all went well."""
    reasons: Counter[str] = Counter()
    bad: list[Outcome] = []
    slowest = largest = hungriest = Outcome("", "", 0.0, 0, 0, 0)
    began = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        for outcome in outcomes:
            reasons[outcome.reason if outcome.is_within_bounds else "BAD"] += 1
            bad += [] if outcome.is_within_bounds else [outcome]
            slowest = max(slowest, outcome, key=lambda each: each.seconds)
            largest = max(largest, outcome, key=lambda each: each.peak_bytes)
            hungriest = max(hungriest, outcome, key=lambda each: each.grown_bytes)
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    print(f"{title}: {reasons.total():,} in {time.monotonic() - began:,.0f} s: {counts}")
    print(f"  slowest {slowest.seconds:.2f} s ({slowest.name}, {slowest.reason})")
    print(f"  peak memory {largest.peak_bytes / 1e6:,.0f} MB")
    print(f"  most memory added {hungriest.grown_bytes / 1e6:,.0f} MB ({hungriest.name})")
    for outcome in bad[:20]:
        print(f"  BAD {outcome}")
    return not bad


def main() -> None:
    """Runs all three."""
    if sys.argv[1:2] == ["--work"]:
        first, count, seed = map(int, sys.argv[2:5])
        _work(first, count, seed, Path(sys.argv[5]))
        return
    given = [int(each) for each in sys.argv[1:3]]
    count, seed = [*given, *(COUNT, 0)[len(given) :]]
    print(f"{len(recordings())} formats, seed {seed}")
    is_good = _show("decode", check_decoder(count, seed))
    is_good &= _show("served reader", check_reader(count, seed))
    is_good &= _show("served model", check_model(count, seed))
    sys.exit(not is_good)


def _by_libsndfile(container: str, subtype: str) -> bytes | None:
    """The sound at the first rate that the format takes; None if it takes none."""
    for rate in (8_000, RATE) if container == "WVE" else (RATE, 8_000):
        time_seconds = np.arange(round(_SECONDS * rate)) / rate
        phase = 2 * np.pi * 150.0 * time_seconds + np.sin(2 * np.pi * 3.0 * time_seconds)
        samples = 0.2 * sum(np.sin(k * phase) / k for k in range(1, 7))
        file = io.BytesIO()
        try:
            soundfile.write(file, samples, rate, format=container, subtype=subtype)
        except soundfile.LibsndfileError:
            continue
        return file.getvalue()
    return None


if __name__ == "__main__":
    main()
