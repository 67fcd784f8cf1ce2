"""The component as TFX calls it, with a real SavedModel."""

import json
from pathlib import Path

import keras
import pandas as pd
import pytest
from tfx.types import artifact_utils, standard_artifacts

from components import features
from components.artifacts import Recordings, Rejects, VerificationReport
from components.model.calibration import Calibration
from components.model.export import export
from components.model.recordings import FrontEnd
from components.model.tower import build_tower
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from components.verification_report.executor import Executor
from tests.components.verification_report.support_report import (
    COLUMNS,
    RATE,
    SESSIONS,
    SETTINGS,
    UNSEEN,
    speech,
    write_speech,
)
from tests.support_executors import artifact

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    spectrogram = SpectrogramSettings(window_seconds=0.5, n_fft=256, hop_samples=128, n_mels=32)
    keras.utils.set_random_seed(0)
    trainer = TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=8)
    model = artifact(standard_artifacts.Model, folder / "model")
    export(
        build_tower(trainer, 32, spectrogram.frames(RATE)),
        Calibration(threshold=0.05, slope=40.0),
        # Noise has no silence to remove, whatever the threshold.
        FrontEnd(
            SpeechSettings(sample_rate=RATE, silence_rule="article", require_voice=False),
            spectrogram,
            ServingSettings(),
        ),
        {"trainer": trainer.model_dump(), "best_epoch": 1},
        str(folder / "model" / "Format-Serving"),
        unit_norm=True,
    )
    examples = artifact(standard_artifacts.Examples, folder / "speech")
    write_speech(folder / "speech", speech())
    examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    rejects = artifact(Rejects, folder / "rejects")
    (folder / "rejects" / "rejects.jsonl").write_text("")
    recordings = artifact(Recordings, folder / "recordings")
    rows = [
        {"recording": name, "columns": cells, "session": SESSIONS.get(name)}
        for name, cells in COLUMNS.items()
    ]
    (folder / "recordings" / "recordings.jsonl").write_text("\n".join(map(json.dumps, rows)))
    blessing = artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    blessing.set_int_custom_property("blessed", 1)
    return {
        "speech": [examples], "rejects": [rejects], "recordings": [recordings],
        "model": [model], "blessing": [blessing],
    }  # fmt: skip


def _run(inputs, folder):
    made = artifact(VerificationReport, folder)
    Executor().Do(inputs, {"report": [made]}, {"settings": SETTINGS.model_dump_json()})
    return {path.name: path.read_bytes() for path in Path(made.uri).iterdir()}


def test_the_same_inputs_give_the_same_files(inputs, tmp_path):
    files = _run(inputs, tmp_path / "one")
    assert {"index.html", "figures.json", "scores.parquet", "embeddings.parquet"} <= set(files)
    assert _run(inputs, tmp_path / "other") == files


def test_both_held_out_splits_are_judged(inputs, tmp_path):
    _run(inputs, tmp_path)
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert set(scores["set"]) == {"eval", "unseen"}
    unseen = scores[scores["set"] == "unseen"]
    assert set(unseen["speaker_a"]) | set(unseen["speaker_b"]) == set(UNSEEN)
    assert {"ne", "en", "mixed"} == set(unseen["column_language"])
    assert "across_sessions" in set(unseen["relation"])
    assert "✓ blessed" in (tmp_path / "index.html").read_text("utf-8")
