import contextlib
import gc
import subprocess
import sys
import wave
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile

from components.errors import SwarError
from components.pcm16 import pack_wav
from serving.client import Client
from serving.recordings import to_wav
from tests.serving import support_endpoint
from tests.serving.support_endpoint import BANDS, CARD, RATE, FakeModel, voice

MAX_SECONDS = 120.0


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """Writes a voice to a file: name, pitch, seconds, rate and channels."""

    def write(name: str, pitch: float, *, seconds: float = 3.0, rate: int = RATE) -> Path:
        path = tmp_path / name
        samples = voice(pitch, seconds, seed=len(name), rate=rate)
        soundfile.write(path, np.stack([samples, samples], axis=1), rate)
        return path

    return write


def _samples(wav: bytes) -> tuple[int, np.ndarray]:
    with wave.open(BytesIO(wav)) as reader:
        assert (reader.getnchannels(), reader.getsampwidth()) == (1, 2)
        return reader.getframerate(), np.frombuffer(reader.readframes(10**9), "<i2")


def test_files_of_any_rate_and_format_verify(client: Client, recording: Any) -> None:
    low, again = recording("low.flac", 120.0, rate=44_100), recording("again.mp3", 120.0)
    same = client.verify(low, again.read_bytes())
    assert same.same_speaker
    assert same.distance < 0.2
    assert same.probability > 0.9
    different = client.verify(str(low), recording("high.ogg", 310.0, rate=48_000))
    assert not different.same_speaker
    assert different.probability < 0.1


def test_embed_gives_each_recording_its_own_status(client: Client, recording: Any) -> None:
    silence = pack_wav(np.zeros(3 * RATE, np.int16), RATE)
    short = to_wav(recording("short.wav", 200.0, seconds=1.0), RATE, MAX_SECONDS)
    good, quiet, brief = client.embed([recording("good.wav", 120.0), silence, short])
    assert (good.status, quiet.status, brief.status) == ("ok", "no_speech", "too_short")
    assert good.vector.shape == (24,)
    assert good.vector.dtype == np.float32
    assert np.linalg.norm(good.vector) == pytest.approx(1.0, abs=1e-5)
    assert good.speech_seconds == pytest.approx(3.0, abs=0.1)
    assert good.model_digest == "model-1"
    assert np.isnan(quiet.vector).all()


def test_many_recordings_travel_in_bounded_requests(client: Client, model: FakeModel) -> None:
    wav = pack_wav((voice(120.0, 2.0) * 20_000).astype(np.int16), RATE)
    assert len(client.embed([wav] * 19)) == 19
    embedded = [count for signature, count in model.calls if signature == "embed"]
    assert sum(embedded) == 19
    assert max(embedded) <= 8


def test_scores_are_the_models(client: Client) -> None:
    rows = np.eye(4, BANDS, dtype=np.float32)
    decisions = client.score(rows, np.roll(rows, [0, 0, 2, 0], axis=1))
    same, different = client.score(rows[:2], rows[[0, 2]])
    assert len(decisions) == 4
    assert (same.distance, same.same_speaker) == (0.0, True)
    assert different.distance == pytest.approx(2**0.5)
    assert not different.same_speaker


def test_more_scores_than_a_server_takes_at_once(client: Client, model: FakeModel) -> None:
    rows = np.tile(np.eye(4, BANDS, dtype=np.float32), (625, 1))
    other = np.roll(rows, 1, axis=0)
    other[1_100] = rows[1_100]
    decisions = client.score(rows, other)
    assert [at for at, each in enumerate(decisions) if each.same_speaker] == [1_100]
    assert len(decisions) == 2_500 and client.score(rows[:0], rows[:0]) == []


@pytest.mark.parametrize("peak", [1e-4, 0.3, 1.0, 3.0])
def test_the_model_gets_the_level_of_the_recording(tmp_path: Path, peak: float) -> None:
    samples = voice(150.0, 1.0)
    samples *= np.float32(peak) / np.abs(samples).max()
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    rate, sent = _samples(to_wav(tmp_path / "a.wav", RATE, MAX_SECONDS))
    assert rate == RATE
    np.testing.assert_allclose(sent / 32767, samples / max(1.0, peak), atol=0.51 / 32767)


SPOILT = {
    "no output 'embedding'": lambda out: {k: v for k, v in out.items() if k != "embedding"},
    "output 'embedding' is of shape": lambda out: {**out, "embedding": out["embedding"][0]},
    "output 'speech_seconds' is of shape": lambda out: {
        **out,
        "speech_seconds": np.zeros(3, np.float32),
    },
    "output 'status' holds no strings": lambda out: {**out, "status": np.zeros(1, np.float32)},
    "output 'speech_seconds' holds no numbers": lambda out: {**out, "speech_seconds": [b"x"]},
    "an embedding is NaN": lambda out: {**out, "embedding": out["embedding"] * np.nan},
}


@pytest.mark.parametrize("message", SPOILT)
def test_an_answer_of_another_kind_is_refused(
    client: Client, model: FakeModel, recording: Any, message: str
) -> None:
    model.spoil = SPOILT[message]
    with pytest.raises(SwarError, match=f"does not answer 'embed' as a Swar model does.*{message}"):
        client.embed([recording("a.wav", 120.0)])


def test_a_score_that_is_nan_is_refused(client: Client, model: FakeModel, recording: Any) -> None:
    model.spoil = lambda out: {**out, "probability": np.array([np.nan], np.float32)}
    with pytest.raises(SwarError, match="a score is NaN"):
        client.verify(recording("a.wav", 120.0), recording("b.wav", 120.0))


def test_the_model_says_what_it_is(client: Client, model: FakeModel) -> None:
    said = client.describe()
    assert (said.sample_rate_hz, said.embedding_size) == (RATE, model.bands)
    assert said.threshold == pytest.approx(0.5)
    assert said.model_digest == client.model_digest() == "model-1"
    assert said.card == CARD | {"sample_rate": RATE}
    model.digest = "model-2"
    assert client.model_digest() == "model-2"


def test_recordings_are_sent_at_the_models_rate(url: str, model: FakeModel, recording: Any) -> None:
    model.sample_rate = 8_000
    with Client(url) as client:
        assert client.embed([recording("a.wav", 120.0, rate=44_100)])[0].status == "ok"


def test_a_new_model_of_another_rate_is_called_at_it_from_the_next_call_on(
    client: Client, model: FakeModel, recording: Any
) -> None:
    path = recording("a.wav", 120.0)
    assert client.embed([path])[0].status == "ok"
    model.sample_rate = 8_000
    with pytest.raises(SwarError, match=r"takes another sample rate: call it again"):
        client.embed([path])
    assert client.embed([path])[0].status == "ok"


@pytest.mark.usefixtures("model")
def test_a_rule_is_of_the_model_that_answers_now(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = client.rule()
    monkeypatch.setattr(support_endpoint, "THRESHOLD", 0.3)
    now = client.rule()
    assert before.accept_up_to == pytest.approx(0.5)
    assert now.accept_up_to == pytest.approx(0.3)


def test_a_model_that_does_not_describe_itself_is_of_an_older_version(
    client: Client, model: FakeModel, recording: Any
) -> None:
    # As TF Serving says it.
    message = 'Serving signature name: "describe" not found in signature def'
    model.refusals = [(grpc.StatusCode.FAILED_PRECONDITION, 400, message)]
    with pytest.raises(SwarError, match=r"of an older version of swar, .*: publish it again"):
        client.embed([recording("a.wav", 120.0)])


def test_what_is_wrong_with_a_file_is_said_with_its_name(
    client: Client, recording: Any, tmp_path: Path
) -> None:
    good, short = recording("good.wav", 120.0), recording("short.wav", 120.0, seconds=0.5)
    with pytest.raises(SwarError, match=r"short\.wav' is too short: record"):
        client.verify(good, short)
    text = tmp_path / "notes.txt"
    text.write_text("no sound")
    with pytest.raises(SwarError, match=r"notes\.txt': .*: give another recording"):
        client.verify(text, good)
    with pytest.raises(SwarError, match=r"missing\.wav': cannot be read"):
        client.embed([tmp_path / "missing.wav"])
    with pytest.raises(SwarError, match="the recording: "):
        client.embed([b"nonsense"])
    digital_silence = tmp_path / "zeros.wav"
    soundfile.write(digital_silence, np.zeros(3 * RATE), RATE)
    with pytest.raises(SwarError, match=r"zeros\.wav' has too little speech in it"):
        client.verify(digital_silence, good)


def test_the_client_needs_no_tensorflow() -> None:
    code = """
import sys
import numpy as np
from serving import recognition, display
from components.pcm16 import pack_wav
from serving.client import Client
from tests.serving.support_endpoint import RATE, FakeModel, grpc_endpoint, voice
wav = pack_wav((voice(120.0, 2.0) * 20_000).astype(np.int16), RATE)
with grpc_endpoint(FakeModel()) as url, Client(url) as client:
    assert client.verify(wav, wav).same_speaker
assert not [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_answers_say_how_good_the_recordings_are(client: Client, recording: Any) -> None:
    low, line = recording("low.flac", 120.0), recording("line.wav", 120.0, rate=8_000)
    wide, narrow = client.embed([low, line])
    assert client.embed_wavs([b"no WAV"])[0].quality is None
    for embedding, hertz in ((wide, 8_000.0), (narrow, 4_000.0)):
        assert embedding.quality is not None
        assert embedding.quality.speech_seconds == embedding.speech_seconds
        assert embedding.quality.bandwidth_hz == pytest.approx(hertz, abs=250.0)
    decision = client.verify(low, line)
    assert (decision.quality_a, decision.quality_b) == (wide.quality, narrow.quality)
    assert any(each.startswith("the bandwidths differ") for each in decision.warnings)
    assert client.rule(0.05).apply(decision).warnings == decision.warnings


def test_a_model_that_does_not_say_the_seconds_verifies(
    client: Client, model: FakeModel, recording: Any
) -> None:
    model.spoil = lambda outputs: {
        name: value for name, value in outputs.items() if not name.startswith("speech_seconds")
    }
    decision = client.verify(recording("a.wav", 120.0), recording("b.wav", 120.0))
    assert decision.same_speaker
    assert decision.quality_a is not None
    assert decision.quality_a.speech_seconds is None


@pytest.mark.parametrize("refused", [None, support_endpoint.UNAVAILABLE, support_endpoint.INVALID])
def test_recordings_are_let_go_when_they_are_answered(
    url: str, model: FakeModel, refused: Any
) -> None:
    """Also those that a server refuses: not when Python looks for circles of objects."""
    let_go = []

    class Wav(bytes):
        def __del__(self) -> None:
            let_go.append(True)

    with Client(url, attempts=2) as client:
        model.refusals = [refused] * 2 if refused else []
        gc.disable()
        try:
            with contextlib.suppress(SwarError):
                client.embed_wavs([Wav(pack_wav(np.ones(RATE, np.int16), RATE))])
            assert let_go
        finally:
            gc.enable()
