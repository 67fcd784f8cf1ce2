"""A small model and speakers to evaluate it on."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import soundfile

from components.model.calibration import Calibration
from components.model.export import export
from components.model.recordings import FrontEnd
from components.model.tower import build_tower
from components.recordings.sources import data_digest, list_recordings
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from components.verification.judge import JudgeSettings
from pipeline import cli
from tests.bad_recordings import speech_like

RATE = 8_000
# Five speakers: none of them is held out to calibrate on.
SPEECH = SpeechSettings(
    sample_rate=RATE,
    calibration_fraction=0.1,
    calibration_speaker_fraction=0.0,
    require_voice=False,
)
SPEAKERS = {"asha": "F", "bina": "F", "chandra": "M", "dev": "M", "esha": "?"}
LANGUAGES = {"asha": "ne", "bina": "en", "chandra": "ne", "dev": "en"}
SETTINGS = JudgeSettings(
    duration_seconds=(0.5, 3.0, 100.0), conditions=("hum", "opus"), resamples=20
)
WINDOW = 0.624


def write_speakers(data):
    """Two recordings of 11 s of each, esha's at a wideband rate; a silent and a broken one."""
    for number, speaker in enumerate(SPEAKERS):
        rate = 16_000 if speaker == "esha" else RATE
        for take in range(2):
            file = data / speaker / f"take{take}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, speech_like(10 * number + take, rate, 11.0), rate, "PCM_16")
    soundfile.write(data / "asha" / "silent.wav", np.zeros(3 * RATE), RATE)
    (data / "bina" / "broken.wav").write_bytes(b"RIFF and no more")
    rows = "".join(
        f"{name}\t{gender}\t{LANGUAGES.get(name, '')}\tyes\n" for name, gender in SPEAKERS.items()
    )
    (data / "SPEAKERS.tsv").write_text(f"speaker\tgender\tlanguage\tsynthetic\n{rows}")


def make(folder):
    """A folder of speakers, and a model whose card says that it was trained on them."""
    data, model = folder / "voices", folder / "published" / "17"
    write_speakers(data)
    spectrogram = SpectrogramSettings(window_seconds=WINDOW, n_fft=256, hop_samples=128, n_mels=32)
    keras.utils.set_random_seed(0)
    tower = build_tower(
        TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=8), 32, spectrogram.frames(RATE)
    )
    export(
        tower,
        Calibration(threshold=0.05, slope=40.0),
        FrontEnd(SPEECH, spectrogram, ServingSettings(max_seconds=30.0)),
        {"data_digest": data_digest(list_recordings(str(data)))},
        str(model),
        unit_norm=True,
    )
    return SimpleNamespace(data=data, model=model.parent, version=model)


def exit_status(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["swar", "evaluate", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    return 0


def write_list(folder, *lines):
    file = folder / "trials.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file
