"""Random sounds without a voice, which the speech gate learns to refuse.

Every kind draws its pitch, rhythm and colour at random. `KINDS` has the kinds by name; each gives
float64 [samples] of any level at `RATE`.
"""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.signal

from components.degradation import coloured_noise

Sound = npt.NDArray[np.float64]
Kind = Callable[[int, np.random.Generator], Sound]

RATE: Final = 16_000
KINDS: dict[str, Kind] = {}


def _kind(make: Kind) -> Kind:
    KINDS[make.__name__] = make
    return make


def _seconds(samples: int) -> Sound:
    return np.arange(samples) / RATE


def _sine(hertz: float | Sound, samples: int) -> Sound:
    phase = np.cumsum(np.broadcast_to(np.asarray(hertz, np.float64), (samples,))) / RATE
    return np.sin(2.0 * np.pi * phase)


def _harmonics(
    hertz: float | Sound, samples: int, rng: np.random.Generator, count: int, tilt: float
) -> Sound:
    """Overtones, each divided by its number to the power of `tilt`."""
    pitch = np.broadcast_to(np.asarray(hertz, np.float64), (samples,))
    phase = 2.0 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros(samples)
    for number in range(1, count + 1):
        if number * pitch.max() < RATE / 2:
            sound += number**-tilt * np.sin(number * phase + rng.uniform(0.0, 6.0))
    return sound


def _band(sound: Sound, low: float, high: float) -> Sound:
    sections = scipy.signal.butter(3, [low, min(high, 7_800.0)], "bandpass", fs=RATE, output="sos")
    filtered: Sound = scipy.signal.sosfilt(sections, sound)
    return filtered


def _wander(samples: int, rng: np.random.Generator, per_second: float) -> Sound:
    """A curve between 0 and 1, with `per_second` turns a second."""
    turns = max(4, int(samples / RATE * per_second))
    return np.interp(np.linspace(0, turns - 1, samples), np.arange(turns), rng.random(turns))


def _sum(sounds: Iterable[Sound]) -> Sound:
    total: Sound = np.sum(list(sounds), axis=0)
    return total


def _filtered(numerator: npt.ArrayLike, denominator: npt.ArrayLike, sound: Sound) -> Sound:
    filtered: Sound = scipy.signal.lfilter(numerator, denominator, sound)
    return filtered


def _noise(samples: int, colour: float, rng: np.random.Generator) -> Sound:
    noise = coloured_noise(samples, colour, rng).astype(np.float64)
    return noise / float(np.max(np.abs(noise)))


def _sequence(
    samples: int,
    rng: np.random.Generator,
    seconds: tuple[float, float],
    pause_seconds: float,
    make: Callable[[int], Sound],
) -> Sound:
    """One sound after another, with lengths from a range and pauses of a mean length."""
    sound = np.zeros(samples)
    start = 0
    while start < samples:
        length = min(max(64, int(rng.uniform(*seconds) * RATE)), samples - start)
        sound[start : start + length] += make(length)
        start += length + int(rng.exponential(pause_seconds) * RATE)
    return sound


def _scattered(
    samples: int,
    rng: np.random.Generator,
    per_second: float,
    length: int,
    make: Callable[[], Sound],
) -> Sound:
    """Sounds of one length at random moments, `per_second` a second."""
    sound = np.zeros(samples)
    for start in rng.integers(0, max(1, samples - length), int(samples / RATE * per_second) + 1):
        part = make()[: samples - start]
        sound[start : start + len(part)] += part
    return sound


def _note(rng: np.random.Generator, low: int, high: int) -> float:
    """A note of the tempered scale; the range is in semitones from 220 Hz."""
    return float(220.0 * 2.0 ** (rng.integers(low, high) / 12.0))


@_kind
def coloured(samples: int, rng: np.random.Generator) -> Sound:
    return _noise(samples, rng.choice([0.0, 0.0, 1.0, 1.0, 2.0]), rng)


@_kind
def band_of_noise(samples: int, rng: np.random.Generator) -> Sound:
    low = rng.uniform(150, 2_000)
    return _band(rng.standard_normal(samples), low, low * rng.uniform(1.3, 3.0))


@_kind
def swelling_noise(samples: int, rng: np.random.Generator) -> Sound:
    return _noise(samples, rng.uniform(0, 2), rng) * _wander(samples, rng, rng.uniform(1, 12))


@_kind
def wind(samples: int, rng: np.random.Generator) -> Sound:
    gusts = _wander(samples, rng, rng.uniform(0.5, 3.0)) ** 2
    return _band(_noise(samples, 1.5, rng) * gusts, 60, rng.uniform(400, 1_500))


@_kind
def bursts_of_noise(samples: int, rng: np.random.Generator) -> Sound:
    def burst(length: int) -> Sound:
        low = rng.uniform(100, 3_000)
        noise = _band(rng.standard_normal(length), low, low * rng.uniform(1.2, 8.0))
        return noise * np.hanning(length)

    return _sequence(samples, rng, (0.03, 0.5), 0.15, burst)


@_kind
def scratching(samples: int, rng: np.random.Generator) -> Sound:
    strokes = np.abs(_sine(rng.uniform(1, 5), samples)) ** rng.uniform(1, 6)
    return _band(rng.standard_normal(samples), 800, 6_000) * strokes


@_kind
def rain(samples: int, rng: np.random.Generator) -> Sound:
    drops = 0.05 * rng.standard_normal(samples)
    count = int(samples / RATE * rng.uniform(50, 500)) + 1
    drops[rng.integers(0, samples, count)] += rng.standard_normal(count)
    return _band(_filtered([1.0], [1.0, -0.5], drops), 300, 7_000)


@_kind
def applause(samples: int, rng: np.random.Generator) -> Sound:
    decay = np.exp(-_seconds(800) * rng.uniform(60, 200))
    return _scattered(
        samples,
        rng,
        rng.uniform(10, 150),
        800,
        lambda: _band(rng.standard_normal(800), 600, 3_000) * decay,
    )


@_kind
def typing(samples: int, rng: np.random.Generator) -> Sound:
    decay = np.exp(-_seconds(640) * 120)
    return _scattered(
        samples,
        rng,
        rng.uniform(2, 10),
        640,
        lambda: _band(rng.standard_normal(640), 500, 5_000) * decay * rng.uniform(0.3, 1.0),
    )


@_kind
def clicks(samples: int, rng: np.random.Generator) -> Sound:
    sound = np.zeros(samples)
    count = int(rng.integers(3, 200))
    sound[rng.integers(0, samples, count)] = rng.uniform(-1, 1, count)
    struck = _filtered([1.0], [1.0, -rng.uniform(0.0, 0.95)], sound)
    hiss: float = rng.choice([0.0, 0.01])
    return struck + hiss * rng.standard_normal(samples)


@_kind
def clock(samples: int, rng: np.random.Generator) -> Sound:
    period = int(rng.choice([0.2, 0.25, 0.5, 1.0]) * RATE)
    decay = np.exp(-_seconds(1_600) * rng.uniform(60, 300))
    sound = np.zeros(samples)
    for start in range(0, samples, period):
        tick = _band(rng.standard_normal(1_600), 1_000, 6_000) * decay
        sound[start : start + 1_600] += tick[: samples - start]
    return sound


@_kind
def hum(samples: int, rng: np.random.Generator) -> Sound:
    return _harmonics(float(rng.choice([50, 60])), samples, rng, 20, rng.uniform(0.5, 1.5))


@_kind
def engine(samples: int, rng: np.random.Generator) -> Sound:
    pitch = rng.uniform(30, 120) * (0.7 + 0.3 * _wander(samples, rng, 1.0))
    return _harmonics(pitch, samples, rng, 30, 0.8) + _noise(samples, 1.0, rng)


@_kind
def fan(samples: int, rng: np.random.Generator) -> Sound:
    blades = 1.0 + 0.5 * _sine(rng.uniform(1, 15), samples)
    turning = _harmonics(rng.uniform(80, 200), samples, rng, 10, 1.0)
    return (3.0 * _noise(samples, 1.0, rng) + 0.4 * turning) * blades


@_kind
def tones(samples: int, rng: np.random.Generator) -> Sound:
    count = int(rng.integers(1, 5))
    return _sum(_sine(rng.uniform(100, 3_500), samples) for _ in range(count))


@_kind
def beeps(samples: int, rng: np.random.Generator) -> Sound:
    period = rng.uniform(0.15, 1.5)
    is_on = (_seconds(samples) % period) < period * rng.uniform(0.2, 0.7)
    return _harmonics(rng.uniform(300, 3_000), samples, rng, int(rng.integers(1, 4)), 1.0) * is_on


@_kind
def keypad(samples: int, rng: np.random.Generator) -> Sound:
    period = int(rng.uniform(0.12, 0.5) * RATE)
    length = int(period * rng.uniform(0.4, 0.8))
    sound = np.zeros(samples)
    for start in range(0, samples - length, period):
        low, high = rng.choice([697, 770, 852, 941]), rng.choice([1_209, 1_336, 1_477])
        sound[start : start + length] = _sine(low, length) + _sine(high, length)
    return sound


@_kind
def telephone_ring(samples: int, rng: np.random.Generator) -> Sound:
    period = rng.uniform(0.5, 4.0)
    is_on = (_seconds(samples) % period) < period * rng.uniform(0.3, 0.6)
    trill = 1.0 if rng.random() < 0.5 else _sine(20, samples) > 0
    first, second = rng.choice([[440, 480], [425, 425], [350, 440], [480, 620]])
    return (_sine(first, samples) + _sine(second, samples)) * is_on * trill


@_kind
def morse(samples: int, rng: np.random.Generator) -> Sound:
    unit = int(rng.uniform(0.05, 0.12) * RATE)
    is_on = np.zeros(samples)
    start = 0
    while start < samples:
        length = unit * int(rng.choice([1, 3]))
        is_on[start : start + length] = 1.0
        start += length + unit * int(rng.choice([1, 1, 3, 7]))
    return is_on * _sine(rng.uniform(400, 1_200), samples)


@_kind
def modem(samples: int, rng: np.random.Generator) -> Sound:
    length = int(RATE / rng.choice([300, 600, 1_200]))
    bits = np.repeat(rng.integers(0, 2, samples // length + 1), length)[:samples]
    return _sine(np.where(bits, 1_200.0, 2_200.0), samples)


@_kind
def siren(samples: int, rng: np.random.Generator) -> Sound:
    swing = _sine(rng.uniform(0.2, 6.0), samples)
    if rng.random() < 0.4:
        swing = np.sign(swing)
    pitch = rng.uniform(500, 1_200) + rng.uniform(100, 400) * swing
    return _harmonics(pitch, samples, rng, int(rng.integers(1, 8)), 1.0)


@_kind
def sweeps(samples: int, rng: np.random.Generator) -> Sound:
    period = rng.uniform(0.3, 5.0)
    position = (_seconds(samples) % period) / period
    low, high = rng.uniform(100, 400), rng.uniform(1_500, 6_000)
    return _sine(low * (high / low) ** position, samples)


@_kind
def warble(samples: int, rng: np.random.Generator) -> Sound:
    swing = rng.uniform(0.02, 0.4) * _sine(rng.uniform(1, 12), samples)
    pitch = rng.uniform(300, 1_500) * (1.0 + swing * _wander(samples, rng, 2.0))
    tone = _harmonics(pitch, samples, rng, int(rng.integers(1, 8)), rng.uniform(0.5, 2.0))
    return tone * _wander(samples, rng, rng.uniform(1, 8))


@_kind
def tremolo(samples: int, rng: np.random.Generator) -> Sound:
    """The pitch and overtones of a voice, with as many swells as syllables."""
    pitch = rng.uniform(80, 400) * (1.0 + rng.uniform(0, 0.06) * _sine(rng.uniform(2, 8), samples))
    swells = 1.0 + rng.uniform(0.3, 1.0) * _sine(rng.uniform(1.5, 8), samples)
    return _harmonics(pitch, samples, rng, int(rng.integers(3, 20)), rng.uniform(0.5, 2.0)) * swells


@_kind
def blips(samples: int, rng: np.random.Generator) -> Sound:
    def blip(length: int) -> Sound:
        path = np.interp(np.linspace(0, 3, length), np.arange(4), rng.uniform(200, 3_500, 4))
        tone = _harmonics(path, length, rng, int(rng.integers(1, 5)), 1.0)
        return tone * np.hanning(length) * rng.uniform(0.3, 1.0)

    return _sequence(samples, rng, (0.03, 0.3), 0.08, blip)


@_kind
def birds(samples: int, rng: np.random.Generator) -> Sound:
    def chirp(length: int) -> Sound:
        start = rng.uniform(1_200, 5_000)
        pitch = np.maximum(300.0, start + rng.uniform(-1_500, 1_500) * np.linspace(0, 1, length))
        return _sine(pitch, length) * np.hanning(length)

    return _sequence(samples, rng, (0.03, 0.3), 0.15, chirp)


@_kind
def crickets(samples: int, rng: np.random.Generator) -> Sound:
    is_on = (_seconds(samples) % rng.uniform(0.5, 1.5)) < 0.4
    trill = _sine(rng.uniform(15, 40), samples) > 0
    return _sine(rng.uniform(2_500, 5_500), samples) * trill * is_on


@_kind
def bubbles(samples: int, rng: np.random.Generator) -> Sound:
    def bubble() -> Sound:
        length = int(rng.uniform(400, 3_200))
        time = _seconds(length)
        pitch = rng.uniform(200, 3_000) * np.maximum(0.1, 1.0 + time * rng.uniform(-3, 8))
        return _sine(pitch, length) * np.exp(-time * rng.uniform(10, 120)) * rng.uniform(0.2, 1.0)

    sound = _scattered(samples, rng, rng.uniform(5, 60), 3_200, bubble)
    return sound + rng.uniform(0, 0.02) * rng.standard_normal(samples)


@_kind
def barks(samples: int, rng: np.random.Generator) -> Sound:
    def bark(length: int) -> Sound:
        pitch = rng.uniform(250, 900) * (1.0 + 0.4 * np.sin(np.pi * np.linspace(0, 1, length)))
        rough = _harmonics(pitch, length, rng, 15, 0.7) + 0.5 * rng.standard_normal(length)
        return rough * np.hanning(length) * rng.uniform(0.5, 1.0)

    return _sequence(samples, rng, (0.08, 0.35), 0.4, bark)


@_kind
def horn(samples: int, rng: np.random.Generator) -> Sound:
    is_on = (_seconds(samples) % rng.uniform(0.5, 2.0)) < rng.uniform(0.3, 0.8)
    return _harmonics(rng.uniform(200, 450), samples, rng, 15, 0.5) * is_on


@_kind
def drums(samples: int, rng: np.random.Generator) -> Sound:
    sound = np.zeros(samples)
    period = int(30.0 / rng.uniform(80, 180) * RATE)
    for beat, start in enumerate(range(0, samples, period)):
        length = min(int(0.3 * RATE), samples - start)
        time = _seconds(length)
        hit = 0.3 * np.diff(rng.standard_normal(length + 1)) * np.exp(-time * 60)
        if beat % 4 == 0:
            hit += _sine(50 + 80 * np.exp(-time * 30), length) * np.exp(-time * 12)
        if beat % 4 == 2:
            hit += 0.7 * rng.standard_normal(length) * np.exp(-time * 20)
        sound[start : start + length] += hit
    return sound


@_kind
def melody(samples: int, rng: np.random.Generator) -> Sound:
    tilt, fade = rng.uniform(0.5, 2.0), float(rng.uniform(0, 4))
    vibrato = rng.uniform(0, 0.01)

    def tone(length: int) -> Sound:
        pitch = _note(rng, -14, 18) * (1.0 + vibrato * _sine(5.5, length))
        shape = np.minimum(1.0, _seconds(length) / 0.02) * np.exp(-_seconds(length) * fade)
        sound: Sound = _harmonics(pitch, length, rng, 12, tilt) * shape
        return sound * rng.uniform(0.4, 1.0)

    return _sequence(samples, rng, (0.1, 0.7), rng.choice([0.0, 0.05]), tone)


@_kind
def chords(samples: int, rng: np.random.Generator) -> Sound:
    fade, tilt = rng.uniform(0.2, 5.0), rng.uniform(0.5, 2.0)

    def chord(length: int) -> Sound:
        root = _note(rng, -12, 13)
        steps = rng.choice([[0, 4, 7], [0, 3, 7], [0, 5, 9]])
        tones = [_harmonics(root * 2 ** (n / 12), length, rng, 8, tilt) for n in steps]
        attack = np.minimum(1.0, _seconds(length) / rng.uniform(0.003, 0.05))
        return _sum(tones) * attack * np.exp(-_seconds(length) * fade)

    return _sequence(samples, rng, (0.3, 2.0), 0.0, chord)


@_kind
def plucked_strings(samples: int, rng: np.random.Generator) -> Sound:
    """Karplus and Strong's string: a burst of noise in a loop that loses treble."""
    sound = np.zeros(samples)
    start = 0
    while start < samples:
        length = min(RATE, samples - start)
        period = int(RATE / _note(rng, -12, 18))
        burst = np.zeros(length)
        burst[:period] = rng.uniform(-1, 1, min(period, length))
        loop = np.r_[1.0, np.zeros(period - 1), -0.4975, -0.4975]
        sound[start : start + length] += _filtered([1.0], loop, burst)
        start += int(rng.uniform(0.1, 0.5) * RATE)
    return sound


@_kind
def organ(samples: int, rng: np.random.Generator) -> Sound:
    root = rng.uniform(100, 300)
    swells = rng.uniform(0.3, 3.0)
    return _sum(
        _harmonics(root * 2 ** (step / 12), samples, rng, 8, 1.0)
        * (0.3 + 0.7 * _wander(samples, rng, swells))
        for step in (0, 4, 7, 11)
    )


@_kind
def synthesiser(samples: int, rng: np.random.Generator) -> Sound:
    def tone(length: int) -> Sound:
        wave = scipy.signal.sawtooth(2 * np.pi * _note(rng, -5, 20) * _seconds(length))
        numerator, denominator = scipy.signal.butter(2, rng.uniform(500, 3_000), fs=RATE)
        return _filtered(numerator, denominator, wave) * np.minimum(1.0, _seconds(length) / 0.01)

    beat = 0.3 * drums(samples, rng) * rng.integers(0, 2)
    return _sequence(samples, rng, (0.1, 0.5), 0.0, tone) + beat


@_kind
def band_music(samples: int, rng: np.random.Generator) -> Sound:
    parts = (drums, melody, chords, plucked_strings)
    return _sum(part(samples, rng) * rng.uniform(0, 0.6) for part in parts)
