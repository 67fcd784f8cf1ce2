"""Beam's way and the served model's way through a recording: the same bytes and distances."""

import itertools
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from components import audio, features, spectrogram_codec
from components.model.calibration import Calibration
from components.model.export import export
from components.model.recordings import FrontEnd, Recordings, window_starts
from components.model.tower import build_tower
from components.recordings.cleaning import Cleaner, UnusableRecording
from components.recordings.sources import Recording
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from components.spectrogram_pair_gen.sampling import TrainSpeaker, WindowPosition
from components.spectrogram_pair_gen.windows import WindowCutter
from pipeline.sample_data.speech import write_sample_speech
from tests.bad_recordings import encoded, speech_like

RATE = 16_000
REAL_SPEECH = {"hyke": 8_000, "asc": 16_000, "librispeech": 16_000}
N_FFT = {8_000: 256, 16_000: 512}
SPEAKERS = 3
TOLERANCE = 1e-4


@dataclass(frozen=True)
class ModelUnderTest:
    front_end: FrontEnd
    cleaner: Cleaner
    cutter: WindowCutter
    tower: keras.Model
    served: tf.Module
    hear: tf.types.experimental.PolymorphicFunction


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    """A small model with random weights for a sample rate, in memory and exported."""
    made = {}

    def model(rate, require_voice):
        key = rate, require_voice
        if key not in made:
            made[key] = make_model(*key, str(tmp_path_factory.mktemp(f"model-{rate}")))
        return made[key]

    return model


def make_model(rate, require_voice, folder):
    front_end = FrontEnd(
        SpeechSettings(sample_rate=rate, require_voice=require_voice),
        SpectrogramSettings(n_fft=N_FFT[rate]),
        ServingSettings(),
    )
    trainer = TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=16)
    tower = build_tower(trainer, front_end.spectrogram.n_mels, front_end.spectrogram.frames(rate))
    export(tower, Calibration(0.05, 40.0), front_end, {}, folder, unit_norm=True)
    spec = tf.TensorSpec([None], tf.string)
    hear = tf.function(Recordings(front_end).extract_windows, input_signature=[spec])
    return ModelUnderTest(
        front_end,
        Cleaner(front_end.speech),
        WindowCutter(rate, front_end.spectrogram),
        tower,
        tf.saved_model.load(folder),
        hear,
    )


@pytest.fixture
def made_up(tmp_path):
    """Files and their bytes: synthetic speech of two voices, pauses, stereo, a faint recording."""
    write_sample_speech(tmp_path / "data", speakers=2, seconds=8.0)
    samples: list[np.ndarray] = []
    for speaker in sorted(path for path in (tmp_path / "data").iterdir() if path.is_dir()):
        takes = [audio.decode(path, sample_rate=RATE) for path in sorted(speaker.iterdir())]
        samples.append(np.concatenate(takes))
    rng = np.random.default_rng(0)
    samples += [
        np.concatenate([speech_like(1, RATE, 2.2), np.zeros(RATE), speech_like(2, RATE, 1.7)]),
        np.stack([speech_like(3, RATE, 3.0), 0.3 * speech_like(4, RATE, 3.0)], axis=1),
        0.01 * speech_like(5, RATE, 30.0) + 1e-4 * rng.standard_normal(30 * RATE),
    ]
    wavs = [encoded(each, RATE, subtype="PCM_16") for each in samples]
    paths = [tmp_path / f"{number}.wav" for number in range(len(wavs))]
    for path, wav in zip(paths, wavs, strict=True):
        path.write_bytes(wav)
    return paths, wavs


def real(folder, rate):
    """The longest clips of some speakers, as they lie there and as WAVs that a client sends."""
    speakers = sorted(path for path in folder.iterdir() if path.is_dir())
    clips = []
    for speaker in speakers[:: len(speakers) // SPEAKERS][:SPEAKERS]:
        clips += sorted(speaker.glob("*.flac"), key=lambda clip: clip.stat().st_size)[-2:]
    wavs = []
    for clip in clips:
        samples, stored_rate = soundfile.read(clip, dtype="int16")
        assert stored_rate == rate
        wavs.append(encoded(samples, rate, subtype="PCM_16"))
    return clips, wavs


def through_beam(path, folder, model):
    """What the data components make of a recording: windows, where the graph cuts them; seconds."""
    front_end, rate = model.front_end, model.front_end.speech.sample_rate
    item = Recording(str(path), "s", "unknown", "r", None, None, 0, None)
    try:
        with model.cleaner.clean(item) as cleaned:
            pcm16 = cleaned.read(0, cleaned.speech_samples)
    except UnusableRecording:
        pcm16 = np.zeros(0, np.int16)
    example = features.example(
        {
            features.PCM16: pcm16.astype("<i2").tobytes(),
            features.SPEAKER: b"s",
            features.GENDER: b"unknown",
            features.RECORDING: b"r",
            features.PIECE: 0,
            features.START_SECONDS: 0.0,
        }
    )
    file = str(folder / "speech.tfrecord")
    with tf.io.TFRecordWriter(file) as writer:
        writer.write(example.SerializeToString())
    starts = window_starts(
        tf.constant(len(pcm16), tf.int64),
        front_end.spectrogram.window_samples(rate),
        front_end.serving.max_windows,
    ).numpy()
    placements = [
        WindowPosition(f"{i:04d}", 1, "a", TrainSpeaker("s"), "r", 0, int(at))
        for i, at in enumerate(starts)
    ]
    windows = model.cutter.cut(file, placements)
    n_mels = front_end.spectrogram.n_mels
    made = [spectrogram_codec.decode(window.spectrogram, n_mels) for window in windows]
    shape = front_end.spectrogram.n_mels, front_end.spectrogram.frames(rate)
    return np.array(made, np.uint8).reshape(-1, *shape), len(pcm16) / rate


def check_same(model, paths, wavs, folder):
    """The same bytes, at least 99.99 %, none off by more than 1; then the same distances, 1e-4."""
    heard = model.hear(tf.constant(wavs))
    windows = [row.numpy() for row in heard.windows]
    trained = [through_beam(path, folder, model) for path in paths]
    assert [len(row) for row in windows] == [len(row) for row, _ in trained]
    seconds = [trained_seconds for _, trained_seconds in trained]
    np.testing.assert_allclose(heard.speech_seconds, seconds, atol=1e-4)
    off = np.abs(np.concatenate(windows).astype(np.int16) - np.concatenate([w for w, _ in trained]))
    assert off.max() <= 1
    assert np.mean(off == 0) >= 0.9999

    usable = np.flatnonzero([len(row) for row in windows])
    assert len(usable) >= len(wavs) - 1
    assert np.array_equal(usable, np.flatnonzero(heard.status == b"ok"))
    side_a, side_b = np.array(list(itertools.combinations(usable, 2))).T
    answer = model.served.signatures["serving_default"](
        audio_a=tf.constant(np.take(wavs, side_a)), audio_b=tf.constant(np.take(wavs, side_b))
    )
    embedding = {index: offline_embedding(model.tower, trained[index][0]) for index in usable}
    distances = [
        np.linalg.norm(embedding[a] - embedding[b]) for a, b in zip(side_a, side_b, strict=True)
    ]
    assert max(distances) > 100 * TOLERANCE
    np.testing.assert_allclose(answer["distance"], distances, atol=TOLERANCE)


def offline_embedding(tower, windows):
    """The mean over a recording's windows, of the length 1."""
    mean = tower(windows, training=False).numpy().mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_training_and_serving_agree(model_of, made_up, tmp_path):
    paths, wavs = made_up
    check_same(model_of(RATE, False), paths, wavs, tmp_path)


@pytest.mark.parametrize("name", REAL_SPEECH)
def test_training_and_serving_agree_on_real_speech(model_of, shared_speech, tmp_path, name):
    rate = REAL_SPEECH[name]
    paths, wavs = real(shared_speech / name, rate)
    assert len(paths) == 2 * SPEAKERS
    check_same(model_of(rate, True), paths, wavs, tmp_path)
