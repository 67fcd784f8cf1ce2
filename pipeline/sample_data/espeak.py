"""espeak-ng through ctypes: synthetic Nepali speech that depends on its arguments only."""

import _ctypes
import ctypes
import os
from pathlib import Path
from typing import Final, NamedTuple, Self

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

from components.errors import SwarError

SAMPLE_RATE: Final = 22_050  # Hz, of every voice used here
LANGUAGE: Final = "ne"

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_INITIALIZE_DONT_EXIT: Final = 0x8000
_POSITION_CHARACTER: Final = 1
_CHARS_UTF8: Final = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_EE_OK: Final = 0
# At espeak's default of 100 the loudest variants clip.
_VOLUME_PERCENT: Final = 50

_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Voice(NamedTuple):
    """A variant of espeak-ng and how it speaks; pitch and range are 0-99, where 50 is normal."""

    variant: str
    pitch: int
    pitch_range: int
    words_per_minute: int


def variant_path(variant: str) -> Path:
    """espeak-ng's file that describes a variant."""
    return Path(espeakng_loader.get_data_path()) / "voices" / "!v" / variant


class Espeak:
    """One voice speaking Nepali; a context manager, one at a time in a process.

    The library keeps static state (oscillator phases, random numbers, the last voice's
    tables) that espeak_Terminate does not reset, so that speech would depend on what was
    said before. Each instance therefore loads the library anew and unloads it when closed.

    Raises SwarError where the library, its data or the variant cannot be loaded.
    """

    def __init__(self, voice: Voice, seed: int) -> None:
        path = espeakng_loader.get_library_path()
        _refuse_second_copy(path)
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise SwarError(
                f"cannot load espeak-ng ({error}); reinstall espeakng-loader"
            ) from error
        self._chunks: list[bytes] = []
        # espeak keeps the bare pointer: the callback must live as long as the library.
        self._callback = _SynthCallback(self._collect)
        try:
            self._start(voice, seed)
        except BaseException:
            self.close()
            raise

    def _start(self, voice: Voice, seed: int) -> None:
        data = espeakng_loader.get_data_path()
        library = self._library
        library.espeak_Synth.argtypes = (
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint),
            *(ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        )
        rate = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data), _INITIALIZE_DONT_EXIT
        )
        if rate != SAMPLE_RATE:
            raise SwarError(
                f"espeak-ng cannot read its data in {data}; "
                "reinstall espeakng-loader, in a shorter path"
            )
        # Initialising seeds espeak's generator by the clock; its Klatt voices use libc's.
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        ctypes.CDLL(None).srand(ctypes.c_uint(seed))
        library.espeak_SetSynthCallback(self._callback)
        name = f"{LANGUAGE}+{voice.variant}"
        # espeak silently uses the plain voice for an unknown variant.
        known = variant_path(voice.variant).is_file()
        if not known or library.espeak_SetVoiceByName(name.encode()) != _EE_OK:
            raise SwarError(f"espeak-ng has no voice {name}; reinstall espeakng-loader")
        for parameter, value in (
            (_RATE, voice.words_per_minute),
            (_VOLUME, _VOLUME_PERCENT),
            (_PITCH, voice.pitch),
            (_RANGE, voice.pitch_range),
        ):
            library.espeak_SetParameter(parameter, value, 0)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: int) -> int:
        if count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(self, text: str) -> NDArray[np.int16]:
        """The spoken text: int16 [samples] at SAMPLE_RATE, mono."""
        self._chunks.clear()
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if status != _EE_OK:
            raise RuntimeError(f"espeak_Synth failed with status {status} on {text!r}")
        return np.frombuffer(b"".join(self._chunks), np.int16)

    def close(self) -> None:
        """Ends the library and unloads it."""
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refuse_second_copy(path: str) -> None:
    """Raises RuntimeError if the library is loaded already, and would keep its state."""
    try:
        held = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError:
        return
    _ctypes.dlclose(held._handle)
    raise RuntimeError("espeak-ng is already in use in this process; close the other Espeak first")
