"""The WAV parser against soundfile's reading, and against bytes that are no WAV."""

import io
import struct
import time

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components import wav
from tests.bad_recordings import by_ffmpeg, encoded, speech_like

RATE = 16_000
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
FLOAT_GUID = bytes.fromhex("0300000000001000800000aa00389b71")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def parse(audio):
    header = wav.read_header(audio)
    return header, wav.read_mono(audio, header)


def chunk(name, content, declared=None):
    size = len(content) if declared is None else declared
    return name + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)


def pcm_format(channels=1, rate=RATE, bits=16, tag=1, extension=b""):
    frame = channels * bits // 8
    plain = struct.pack("<HHIIHH", tag, channels, rate, rate * frame % 2**32, frame % 2**16, bits)
    return chunk(b"fmt ", plain + extension)


def riff(*chunks, declared=None):
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content) if declared is None else declared) + content


SAMPLES = (10_000 * np.random.default_rng(0).standard_normal(1_001)).astype("<i2")
DATA = SAMPLES.tobytes()
NOTE = chunk(b"LIST", b"INFOISFT\x05\x00\x00\x00swar\0")
EXTENSION = struct.pack("<HHI", 22, 16, 4)


@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(riff(pcm_format(), chunk(b"data", DATA)), id="plain"),
        pytest.param(
            riff(NOTE, pcm_format(), chunk(b"fact", b"\1\2\3"), chunk(b"data", DATA), NOTE),
            id="between-others",
        ),
        pytest.param(riff(chunk(b"data", DATA), NOTE, pcm_format()), id="data-first"),
        pytest.param(
            riff(pcm_format(tag=0xFFFE, extension=EXTENSION + PCM_GUID), chunk(b"data", DATA)),
            id="extensible",
        ),
        pytest.param(riff(pcm_format(extension=b"\0\0"), chunk(b"data", DATA)), id="longer-format"),
        pytest.param(
            riff(pcm_format(), chunk(b"data", DATA, declared=0xFFFF_FFFF), declared=0xFFFF_FFFF),
            id="ffmpeg-pipe",
        ),
        pytest.param(
            riff(pcm_format(), chunk(b"data", DATA, declared=0x7FFF_F000), declared=0x7FFF_F024),
            id="sox-pipe",
        ),
        pytest.param(riff(pcm_format(), chunk(b"data", DATA, declared=0), declared=0), id="zeros"),
        pytest.param(
            riff(pcm_format(), chunk(b"data", DATA, declared=0), declared=0xFFFF_FFFF),
            id="zero-data",
        ),
        pytest.param(
            riff(pcm_format(), chunk(b"data", DATA, declared=0), declared=36), id="wave-module-pipe"
        ),
        pytest.param(
            riff(pcm_format(), chunk(b"data", DATA + b"\7", declared=len(DATA) + 1)),
            id="half-a-sample",
        ),
        pytest.param(riff(pcm_format(), chunk(b"data", DATA), declared=7), id="short-riff"),
    ],
)
def test_the_samples_are_found_wherever_they_lie(audio):
    header, waveform = parse(audio)
    assert header.is_pcm16
    assert header.sample_rate == RATE
    np.testing.assert_array_equal(waveform, SAMPLES.astype(np.float32) / 32768)


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 100])
def test_the_mean_of_the_channels_is_the_pipelines(channels):
    samples = np.random.default_rng(channels).uniform(-1, 1, (500, channels))
    audio = encoded(samples, 44_100, subtype="PCM_16")
    theirs = soundfile.read(io.BytesIO(audio), dtype="float32", always_2d=True)[0].mean(axis=1)
    header, waveform = parse(audio)
    assert (header.channels, header.sample_rate) == (channels, 44_100)
    np.testing.assert_array_equal(waveform, theirs)


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_what_other_programs_write_is_read(container):
    speech = speech_like(0, RATE, 1.0)
    audio = encoded(speech, RATE, container, "PCM_16")
    expected = soundfile.read(io.BytesIO(audio), dtype="float32")[0]
    for written in (audio, by_ffmpeg(audio, "wav")):
        np.testing.assert_array_equal(parse(written)[1], expected)


@pytest.mark.parametrize(
    ("audio", "frames"),
    [
        pytest.param(riff(pcm_format(), chunk(b"data", b"")), 0, id="no-data"),
        pytest.param(riff(pcm_format(), chunk(b"data", b""), NOTE), 0, id="no-data-then-more"),
        pytest.param(riff(pcm_format(), chunk(b"data", b"\1")), 0, id="one-byte"),
        pytest.param(
            riff(pcm_format(channels=2), chunk(b"data", DATA)), len(SAMPLES) // 2, id="stereo"
        ),
        pytest.param(
            riff(pcm_format(channels=65_535), chunk(b"data", DATA)), 0, id="more-channels-than-data"
        ),
        pytest.param(
            riff(pcm_format(), chunk(b"data", DATA))[:-1_000], len(SAMPLES) - 500, id="cut-off"
        ),
        pytest.param(
            riff(pcm_format(), chunk(b"data", DATA), chunk(b"data", DATA)),
            len(SAMPLES),
            id="first-data-of-two",
        ),
    ],
)
def test_as_many_frames_as_are_there(audio, frames):
    header, waveform = parse(audio)
    assert header.is_pcm16
    assert header.frames == frames == len(waveform)


@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"R", id="one-byte"),
        pytest.param(b"RIFF", id="riff-only"),
        pytest.param(b"RIFF\x24\0\0\0WAVE", id="no-chunks"),
        pytest.param(b"RIFX" + riff(pcm_format(), chunk(b"data", DATA))[4:], id="big-endian"),
        pytest.param(riff(pcm_format(), chunk(b"data", DATA)).replace(b"WAVE", b"AVI "), id="avi"),
        pytest.param(riff(pcm_format()), id="no-data-chunk"),
        pytest.param(riff(chunk(b"data", DATA)), id="no-format"),
        pytest.param(riff(pcm_format(bits=8), chunk(b"data", DATA)), id="8-bit"),
        pytest.param(riff(pcm_format(bits=24), chunk(b"data", DATA)), id="24-bit"),
        pytest.param(riff(pcm_format(bits=32, tag=3), chunk(b"data", DATA)), id="float"),
        pytest.param(riff(pcm_format(channels=0), chunk(b"data", DATA)), id="no-channels"),
        pytest.param(riff(pcm_format(tag=0xFFFE), chunk(b"data", DATA)), id="short-extensible"),
        pytest.param(
            riff(pcm_format(tag=0xFFFE, extension=EXTENSION + FLOAT_GUID), chunk(b"data", DATA)),
            id="extensible-float",
        ),
        pytest.param(
            riff(chunk(b"fmt ", struct.pack("<HHI", 1, 1, RATE)), chunk(b"data", DATA)),
            id="short-format",
        ),
        pytest.param(riff(pcm_format())[:-10], id="cut-in-format"),
        pytest.param(
            riff(*[chunk(b"junk", b"")] * 200, pcm_format(), chunk(b"data", DATA)),
            id="too-many-chunks",
        ),
        pytest.param(encoded(speech_like(0, RATE, 0.1), RATE, "FLAC"), id="flac"),
        pytest.param(b"\0" * 4_000, id="zeros"),
    ],
)
def test_what_is_no_16_bit_wav_says_so(audio):
    header, waveform = parse(audio)
    assert not header.is_pcm16
    assert header.frames == 0 == len(waveform)


def test_a_million_chunks_cost_no_time():
    audio = riff(chunk(b"junk", b"") * 1_000_000)
    parse(audio[:1_000])
    started = time.perf_counter()
    assert not parse(audio)[0].is_pcm16
    assert time.perf_counter() - started < 1.0


WHOLE = riff(NOTE, pcm_format(channels=2), chunk(b"fact", b"\1\2\3\4"), chunk(b"data", DATA[:200]))
EDITS = st.tuples(
    st.integers(0, 100),
    st.integers(0, 6),
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [b"fmt ", b"data", b"\xff" * 4, b"\0" * 4, b"\0\0\0\x80", b"\xff\xff\xff\x7f"]
        ),
    ),
)


@settings(max_examples=400, deadline=1_000)
@given(edits=st.lists(EDITS, min_size=1, max_size=4), end=st.integers(0, 300))
def test_a_mutated_header_is_read_or_refused(edits, end):
    audio = WHOLE
    for start, removed, inserted in edits:
        audio = audio[:start] + inserted + audio[start + removed :]
    audio = audio[:end]
    header, waveform = parse(audio)
    assert header.frames == len(waveform)
    assert np.all(np.abs(waveform) <= 1.0)
    assert int(header.data_start + header.frames * header.channels * 2) <= max(len(audio), 0)
    assert header.is_pcm16 or header.frames == 0


@settings(max_examples=200, deadline=1_000)
@given(st.binary(max_size=300))
def test_random_bytes_are_no_wav(audio):
    assert not parse(audio)[0].is_pcm16
    header, waveform = parse(riff(audio))
    assert header.frames == len(waveform)
