"""Recordings in all the forms that callers have them in."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from components.errors import SwarError
from serving import recordings
from serving.client import Client
from serving.recordings import RecordingChannel, Waveform, display_name, file_name, to_wav
from tests.serving.support_endpoint import RATE, voice

SECONDS = 3.0
MAX_SECONDS = 120.0
FLOATS = voice(180.0, SECONDS)
INTEGERS = np.round(FLOATS * 32767).astype(np.int16)


def decoded(wav: bytes) -> np.ndarray:
    with soundfile.SoundFile(io.BytesIO(wav)) as file:
        assert file.samplerate == RATE
        samples: np.ndarray = file.read(dtype="float32")
    return samples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "voice.wav", FLOATS, RATE, subtype="PCM_16")
    return tmp_path / "voice.wav"


def test_a_path_its_bytes_and_a_file_object_are_one_recording(path: Path) -> None:
    expected = to_wav(path, RATE, MAX_SECONDS)
    assert (
        to_wav(str(path), RATE, MAX_SECONDS)
        == to_wav(path.read_bytes(), RATE, MAX_SECONDS)
        == expected
    )
    with path.open("rb") as file:
        assert to_wav(file, RATE, MAX_SECONDS) == expected
    assert to_wav(io.BytesIO(path.read_bytes()), RATE, MAX_SECONDS) == expected


@pytest.mark.parametrize(
    "samples", [FLOATS, FLOATS.astype(np.float64), INTEGERS], ids=["float32", "float64", "int16"]
)
def test_samples_are_as_loud_as_their_file(path: Path, samples: Any) -> None:
    np.testing.assert_allclose(
        decoded(to_wav(samples, RATE, MAX_SECONDS)),
        decoded(to_wav(path, RATE, MAX_SECONDS)),
        atol=2.0 / 32768,
    )


def test_samples_of_another_rate_and_of_two_channels_are_resampled_and_mixed() -> None:
    stereo = np.stack([voice(180.0, SECONDS, rate=44_100)] * 2, axis=1)
    heard = decoded(to_wav(Waveform(stereo, 44_100), RATE, MAX_SECONDS))
    assert len(heard) == pytest.approx(SECONDS * RATE, abs=1)
    spectrum = np.abs(np.fft.rfft(heard))
    assert np.argmax(spectrum) * RATE / len(heard) == pytest.approx(180.0, abs=1.0)


@pytest.mark.parametrize(
    "samples", [np.zeros(10, np.int64), np.zeros((2, 2, 2)), np.zeros(4, np.complex64)]
)
def test_arrays_that_are_no_samples_are_a_type_error(samples: Any) -> None:
    with pytest.raises(TypeError, match="samples are float or int16"):
        to_wav(samples, RATE, MAX_SECONDS)


@pytest.mark.parametrize("shape", [(2, RATE), (RATE, 0)])
def test_channels_in_the_wrong_place_are_a_type_error(shape: tuple[int, int]) -> None:
    with pytest.raises(TypeError, match="transpose"):
        to_wav(np.zeros(shape, np.float32), RATE, MAX_SECONDS)


@pytest.mark.parametrize("rate", [0, -RATE, 2**40, 8000.5, float("nan"), "8000", None])
def test_what_is_no_sample_rate_is_a_type_error(rate: Any) -> None:
    with pytest.raises(TypeError, match="sample rate"):
        to_wav(Waveform(FLOATS, rate), RATE, MAX_SECONDS)


def test_a_sample_rate_may_be_a_float() -> None:
    assert to_wav(Waveform(FLOATS, float(RATE)), RATE, MAX_SECONDS) == to_wav(  # type: ignore[arg-type]
        FLOATS, RATE, MAX_SECONDS
    )


@pytest.mark.parametrize("channel", ["left", 1.0])
def test_what_is_no_channel_is_a_type_error(channel: Any) -> None:
    with pytest.raises(TypeError, match="a channel is a number from 1 on"):
        to_wav(RecordingChannel(FLOATS, channel), RATE, MAX_SECONDS)


def test_samples_that_are_not_finite_are_refused() -> None:
    with pytest.raises(SwarError, match=r"the recording: .*give another recording"):
        to_wav(np.full(RATE, np.nan, np.float32), RATE, MAX_SECONDS)


def test_what_is_no_recording_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="int is no recording"):
        to_wav(7, RATE, MAX_SECONDS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "one",
    ["a.wav", Path("a.wav"), b"RIFF", io.BytesIO(b"RIFF"), FLOATS, Waveform(FLOATS, RATE)],
)
def test_a_single_recording_is_no_list_of_them(client: Client, one: Any) -> None:
    with pytest.raises(TypeError, match="a list of recordings is needed"):
        client.embed(one)


def test_recordings_come_in_any_iterable(client: Client, path: Path) -> None:
    both: list[Any] = [path, FLOATS]
    assert [each.status for each in client.embed(each for each in both)] == ["ok", "ok"]
    assert [each.status for each in client.embed({path})] == ["ok"]


def test_embeddings_that_cannot_be_compared_are_named(client: Client, path: Path) -> None:
    vector = client.embed([path])[0].vector
    assert client.score([], []) == []
    with pytest.raises(SwarError, match="embed the recordings with this model"):
        client.score([vector[:5]], [vector[:5]])
    with pytest.raises(SwarError, match="status is not ok: leave it out"):
        client.score([vector], [np.full_like(vector, np.nan)])


def test_arrays_verify_as_files_do(client: Client, path: Path) -> None:
    decision = client.verify(path, Waveform(voice(180.0, SECONDS, rate=22_050), 22_050))
    assert decision.same_speaker
    assert not client.verify(path, voice(400.0, SECONDS)).same_speaker


def test_only_a_path_has_a_file_name() -> None:
    assert file_name("/x/nöt.wav") == "nöt.wav"
    assert file_name(b"RIFF") == file_name(FLOATS) == file_name(io.BytesIO()) == ""


def test_a_channel_is_a_recording_by_itself(tmp_path: Path) -> None:
    left, right = voice(180.0, SECONDS), 0.5 * voice(320.0, SECONDS)
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE, subtype="PCM_16")
    for number, samples in ((1, left), (2, right)):
        channel = RecordingChannel(path, number)
        heard = decoded(to_wav(channel, RATE, MAX_SECONDS))
        np.testing.assert_allclose(heard, samples, atol=2.0 / 32768)
        assert to_wav(RecordingChannel(path.read_bytes(), number), RATE, MAX_SECONDS) == to_wav(
            channel, RATE, MAX_SECONDS
        )
        assert (display_name(channel), file_name(channel)) == (repr(str(path)), "call.wav")


@pytest.mark.parametrize("number", [0, 3])
def test_a_channel_that_is_not_there_is_named(number: int) -> None:
    stereo = Waveform(np.zeros((RATE, 2), np.float32), RATE)
    message = f"the recording: has no channel {number}: it has 2 in all: give another channel"
    with pytest.raises(SwarError, match=message):
        to_wav(RecordingChannel(stereo, number), RATE, MAX_SECONDS)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_recording_has_a_bound_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_file: bool
) -> None:
    """A file of zeros takes no disk, and an application's stream may not end."""
    monkeypatch.setattr(recordings, "MAX_BYTES", 10_000_000)
    path = tmp_path / "long.flac"
    path.write_bytes(b"fLaC")
    os.truncate(path, recordings.MAX_BYTES + 1)

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return bytes(size or 0)

    with pytest.raises(SwarError, match="has more than 10 MB"):
        to_wav(path if as_file else Endless(), RATE, MAX_SECONDS)


def test_the_log_calls_bytes_what_errors_call_them(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one_sided = np.stack([FLOATS, 0.0 * FLOATS], axis=1)
    soundfile.write(path, one_sided, RATE)
    for recording, name in ((path.read_bytes(), "the recording"), (path, repr(str(path)))):
        caplog.clear()
        to_wav(recording, RATE, MAX_SECONDS)
        assert [each.getMessage() for each in caplog.records] == [
            f"{name}: of its 2 channels 1 alone is used: the others are dead, noise, or cancel it"
        ]
