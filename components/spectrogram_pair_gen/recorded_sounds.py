"""Lists, checks, decodes and draws recorded noises and rooms of a user's folders.

Every worker holds all sounds in memory, so at most half an hour of each folder is used.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from components import audio
from components.degradation import Samples
from components.errors import SwarError
from components.recordings.files import (
    HIDDEN,
    File,
    files_below,
    is_remote,
    open_locally,
    remote_files,
)
from components.settings import AugmentationSettings

# 115 MB of float32 at 16 kHz.
MOST_SECONDS: Final = 1_800.0
RESPONSE_SECONDS: Final = 2.0
MOST_FILES: Final = int(MOST_SECONDS / RESPONSE_SECONDS)
_SEARCHED_SECONDS: Final = 30.0  # of a response, for its direct sound
_ONSET_SECONDS: Final = 0.0025  # before the highest sample of a response

progress = logging.getLogger("swar.progress")


@dataclass(frozen=True)
class SoundFiles:
    """The files in the folders, sorted by name."""

    rooms: tuple[File, ...] = ()
    noises: tuple[File, ...] = ()

    @classmethod
    def listed(cls, settings: AugmentationSettings) -> "SoundFiles":
        """Lists the folders that the settings name, without decoding.

        Raises:
            SwarError: a folder is missing or empty, or holds an unusable file.
        """
        found = {name: _listed(name, folder) for name, folder in settings.folders.items()}
        return cls(found.get("reverberation", ()), found.get("noise", ()))

    def digest(self) -> str:
        """SHA-256 (hex) over the name, size and time of every file, not over where they lie."""
        digest = hashlib.sha256()
        for name, files in (("reverberation", self.rooms), ("noise", self.noises)):
            for file in files:
                row = [name, file.name, file.size_bytes, file.modified]
                digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    @property
    def used(self) -> "SoundFiles":
        """Those that are drawn from: at most MOST_FILES of a folder, evenly spread."""
        return SoundFiles(_spread(self.rooms), _spread(self.noises))

    def log_use(self) -> None:
        """Logs how many of the files are used."""
        if self.rooms:
            progress.info("rooms: %d of %d files", len(self.used.rooms), len(self.rooms))
        if self.noises:
            used = len(self.used.noises)
            seconds = _noise_seconds(used)
            progress.info(
                "noises: %d of %d files, %.1f s of each at most", used, len(self.noises), seconds
            )


def sounds_digest(settings: AugmentationSettings) -> str:
    """Fingerprint of the folders that the settings name.

    Raises:
        SwarError: a folder is missing or empty, or a local file is no audio. Remote files are
            checked only when they are decoded, so that they are not fetched for the check.
    """
    files = SoundFiles.listed(settings)
    for file in (*files.used.rooms, *files.used.noises):
        if not is_remote(file.path):
            try:
                audio.check_header(file.path)
            except audio.AudioError as error:
                raise _undecodable(file, error) from error
    return files.digest()


@dataclass(frozen=True)
class Room:
    """An impulse response."""

    response: Samples
    """[m], at most RESPONSE_SECONDS from the direct sound on."""
    direct: int
    """Index of the direct sound in it, the highest sample."""


@dataclass(frozen=True)
class RecordedSounds:
    """Decoded sounds, at the rate of the speech."""

    rooms: tuple[Room, ...] = ()
    noises: tuple[Samples, ...] = ()

    @classmethod
    def decoded(cls, files: SoundFiles, sample_rate: int) -> "RecordedSounds":
        """Decodes and resamples the files that are used.

        Raises:
            SwarError: one of them is no audio, breaks off, or is silent.
        """
        used = files.used
        seconds = _noise_seconds(len(used.noises))
        return cls(
            tuple(_room(file, sample_rate) for file in used.rooms),
            tuple(_sound(file, sample_rate, seconds) for file in used.noises),
        )

    def draw_room(self, generator: np.random.Generator) -> Room:
        """One of the rooms, with equal probability."""
        return self.rooms[generator.integers(len(self.rooms))]

    def draw_noise(self, length: int, generator: np.random.Generator) -> Samples:
        """A part of a noise, with equal probability for each; a shorter one is repeated.

        Returns:
            float32 [length].
        """
        noise = self.noises[generator.integers(len(self.noises))]
        start = generator.integers(max(len(noise) - length + 1, 1))
        return np.resize(noise[start : start + length], length)


NONE_RECORDED: Final = RecordedSounds()


def _listed(name: str, folder: str) -> tuple[File, ...]:
    files = remote_files(folder.rstrip("/")) if is_remote(folder) else _local(name, folder)
    visible = [file for file in files if not file.name.startswith(".") and "/." not in file.name]
    if not visible:
        raise SwarError(f"pairs.augmentation.{name}_folder {folder!r} holds no recording")
    return tuple(sorted(visible, key=lambda file: file.name))


def _local(name: str, folder: str) -> Iterator[File]:
    root = Path(os.path.abspath(folder))
    if not root.is_dir():
        reason = "is no folder" if root.exists() else "does not exist"
        raise SwarError(f"pairs.augmentation.{name}_folder {folder!r} {reason}")
    for item in files_below(root.parent, root.name, within=root):
        if isinstance(item, File):
            below = item.name.removeprefix(f"{root.name}/")
            yield File(below, item.path, item.size_bytes, item.modified)
        elif item.reason not in (HIDDEN, "empty_folder"):
            raise SwarError(
                f"pairs.augmentation.{name}_folder {folder!r}: {item.file!r} cannot be used "
                f"({item.reason}, {item.detail}): take it out of the folder"
            )


def _spread(files: Sequence[File]) -> tuple[File, ...]:
    used = min(len(files), MOST_FILES)
    return tuple(files[number * len(files) // used] for number in range(used))


def _noise_seconds(files: int) -> float:
    """Seconds that are used of each noise."""
    return MOST_SECONDS / max(files, 1)


def _room(file: File, sample_rate: int) -> Room:
    samples = _sound(file, sample_rate, _SEARCHED_SECONDS)
    highest = int(np.argmax(np.abs(samples)))
    start = max(0, highest - round(_ONSET_SECONDS * sample_rate))
    end = highest + round(RESPONSE_SECONDS * sample_rate)
    return Room(samples[start:end].copy(), highest - start)


def _sound(file: File, sample_rate: int, seconds: float) -> Samples:
    """Decodes the first `seconds` of a file, float32 [samples], mono."""
    try:
        with open_locally(file.path) as path:
            samples = audio.decode(path, sample_rate=sample_rate, end_seconds=seconds)
    except audio.AudioError as error:
        raise _undecodable(file, error) from error
    except OSError as error:
        raise SwarError(f"{file.path!r} cannot be read: {error}") from error
    if not np.any(samples):
        raise SwarError(f"{file.path!r} is silent in what is read of it: take it out of the folder")
    return samples


def _undecodable(file: File, error: audio.AudioError) -> SwarError:
    return SwarError(
        f"{file.path!r} is no recording that can be used ({error}): take it out of the folder"
    )
