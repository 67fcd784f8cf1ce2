"""The speakers and recordings of the sample data, planned from one seed before any sound.

All speakers are synthetic: voices of espeak-ng under invented names.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from components.errors import SwarError
from pipeline.sample_data.espeak import Voice

MIN_SPEAKERS: Final = 2
MIN_SECONDS_PER_SPEAKER: Final = 5.0
_MIN_RECORDING_SECONDS: Final = 2.0

# espeak-ng's variants of the Nepali voice with the gender that their own files state. Left out:
# whispers, robots, strong echoes, and near copies (MFCC mean and spread within 12 of another).
# Ordered so that each is far (MFCC and pitch) from those before it, genders in turn.
VOICES: Final = (
    *(("f2", "female"), ("Lee", "male"), ("grandma", "female"), ("Storm", "male")),
    *(("norbert", "unknown"), ("steph", "female"), ("travis", "male"), ("Alicia", "female")),
    *(("sandro", "male"), ("david", "unknown"), ("anika", "female"), ("Marco", "male")),
    *(("Andrea", "female"), ("Andy", "male"), ("boris", "unknown"), ("belinda", "female")),
    *(("michel", "male"), ("Annie", "female"), ("m2", "male"), ("ian", "unknown")),
    *(("aunty", "female"), ("m8", "male"), ("f1", "female"), ("m7", "male")),
    *(("Michael", "unknown"), ("linda", "female"), ("antonio", "male"), ("f3", "female")),
    *(("victor", "male"), ("pablo", "unknown"), ("f5", "female"), ("m1", "male")),
    *(("f4", "female"), ("m4", "male"), ("shelby", "unknown"), ("m6", "male")),
    *(("Denis", "male"), ("kaukovalta", "unknown"), ("m5", "male"), ("Diogo", "male")),
    *(("ed", "unknown"), ("Mr serious", "unknown"), ("marcelo", "unknown")),
    *(("Jacky", "unknown"), ("Gene", "unknown"), ("iven4", "unknown"), ("mike2", "unknown")),
    *(("paul", "unknown"), ("quincy", "unknown"), ("Mario", "unknown"), ("rob", "unknown")),
    *(("Nguyen", "unknown"), ("grandpa", "unknown"), ("max", "unknown")),
    *(("gustave", "unknown"), ("Alex", "unknown")),
)

# Invented names; those for speakers of unstated gender are given to women and men alike.
_FIRST_NAMES: Final = {
    "female": (
        "anjana apsara asmita bhawani durga gyanu jamuna kabita laxmi manju namrata "
        "pabitra rupa sabina sarala tulasi"
    ).split(),
    "male": (
        "aakash bikram deepak dhanbir ganga_ram hari_sharan ishwor jitbahadur khem lokraj "
        "manbir nabin padam rajkumar santosh sudip tek umesh"
    ).split(),
    "unknown": (
        "ang_dawa bhumi chhiring dawa furba gelu hira indra jangbu jeevan kiran lhakpa "
        "mingma nima palden pasang pema phurba prem roshan sangay sujan suman tashi tenzing"
    ).split(),
}
_LAST_NAMES: Final = (
    "bajracharya baral chaudhary dangol ghale gurung kunwar lama limbu magar maharjan majhi "
    "pariyar pun rai sherpa shakya silwal tamang tharu tuladhar yonjan"
).split()
_RECORDING_KINDS: Final = ("interview", "speech", "voice_note", "भाषण")

# Used in turn over all recordings, so that ten recordings have every format.
_FORMATS: Final = (
    *("wav_16", "mp3", "flac", "wav_24", "ogg"),
    *("wav_16", "mp3", "flac", "m4a", "wav_16"),
)
_SAMPLE_RATES: Final = (16_000, 22_050, 32_000, 44_100, 48_000)
_SAMPLE_RATE_SHARES: Final = (0.3, 0.3, 0.1, 0.2, 0.1)
_STEREO_SHARE: Final = 0.25
_MAX_TILT: Final = 0.4  # +3 dB at low and -4 dB at high frequencies, or the other way round


@dataclass(frozen=True)
class SampleRecording:
    """One file: how the speaker sounded that day, and how it was recorded."""

    name: str
    format: str
    sample_rate: int
    channels: int
    seconds: float
    voice: Voice
    tilt: float
    """Tilt of the microphone, y[n] = x[n] + tilt x[n-1]: above 0 dull, below 0 bright."""
    peak_dbfs: float
    noise_dbfs: float
    seed: int


@dataclass(frozen=True)
class SpeakerPlan:
    """One synthetic person and the files of their folder."""

    name: str
    gender: str
    voice: Voice
    recordings: tuple[SampleRecording, ...]


def plan_speakers(speakers: int, seconds: float, seed: int) -> tuple[SpeakerPlan, ...]:
    """The first `speakers` of VOICES with `seconds` of recordings each, all drawn from `seed`.

    Raises SwarError where there are too few or too many speakers, or too few seconds.
    """
    if not MIN_SPEAKERS <= speakers <= len(VOICES):
        raise SwarError(
            f"cannot make {speakers} speakers; ask for {MIN_SPEAKERS} to {len(VOICES)}, "
            "the synthetic speakers there are"
        )
    if not (math.isfinite(seconds) and seconds >= MIN_SECONDS_PER_SPEAKER):
        raise SwarError(
            f"cannot make {seconds:g} seconds of speech per speaker; "
            f"ask for at least {MIN_SECONDS_PER_SPEAKER:g}"
        )
    names = _names(speakers, seed)
    plans: list[SpeakerPlan] = []
    recordings_so_far = 0
    for (variant, gender), name in zip(VOICES[:speakers], names, strict=True):
        rng = _keyed_rng(seed, "speaker", variant)
        voice = Voice(
            variant,
            pitch=int(rng.integers(38, 63)),
            pitch_range=int(rng.integers(35, 71)),
            words_per_minute=int(rng.integers(140, 191)),
        )
        recordings = _recordings(rng, voice, seconds, recordings_so_far)
        recordings_so_far += len(recordings)
        plans.append(SpeakerPlan(name, gender, voice, recordings))
    return tuple(plans)


def _recordings(
    rng: np.random.Generator, voice: Voice, seconds: float, recordings_so_far: int
) -> tuple[SampleRecording, ...]:
    count = min(int(rng.integers(2, 5)), int(seconds // _MIN_RECORDING_SECONDS))
    shares = rng.uniform(0.7, 1.3, count)
    plans = []
    for index, share in enumerate(shares / shares.sum()):
        format_name = _FORMATS[(recordings_so_far + index) % len(_FORMATS)]
        kind = _RECORDING_KINDS[rng.integers(len(_RECORDING_KINDS))]
        plans.append(
            SampleRecording(
                name=f"{kind}_{index + 1:02d}.{format_name.split('_')[0]}",
                format=format_name,
                sample_rate=int(rng.choice(_SAMPLE_RATES, p=_SAMPLE_RATE_SHARES)),
                channels=2 if rng.random() < _STEREO_SHARE else 1,
                seconds=seconds * float(share),
                voice=_as_today(rng, voice),
                tilt=float(rng.uniform(-_MAX_TILT, _MAX_TILT)),
                peak_dbfs=float(rng.uniform(-12.0, -1.0)),
                noise_dbfs=float(rng.uniform(-60.0, -50.0)),
                seed=int(rng.integers(1, 2**31)),
            )
        )
    return tuple(plans)


def _as_today(rng: np.random.Generator, voice: Voice) -> Voice:
    """The voice a little off its usual pitch, range and rate, which differ from day to day."""
    return voice._replace(
        pitch=voice.pitch + int(rng.integers(-3, 4)),
        pitch_range=voice.pitch_range + int(rng.integers(-6, 7)),
        words_per_minute=voice.words_per_minute + int(rng.integers(-10, 11)),
    )


def _names(speakers: int, seed: int) -> list[str]:
    """Distinct names that fit the speakers' genders; no first name is used twice."""
    rng = _keyed_rng(seed, "names")
    first_names = {gender: iter(rng.permutation(names)) for gender, names in _FIRST_NAMES.items()}
    return [
        f"{next(first_names[gender])}_{_LAST_NAMES[rng.integers(len(_LAST_NAMES))]}"
        for _, gender in VOICES[:speakers]
    ]


def _keyed_rng(seed: int, *key: str) -> np.random.Generator:
    """A generator for each key, independent of what else was drawn."""
    digest = hashlib.blake2b("\0".join((str(seed), *key)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
