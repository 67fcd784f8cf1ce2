"""`swar calibrate`: another threshold for a small model, from the recordings of other speakers."""

import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from components.errors import SwarError
from components.model.calibration import Calibration
from components.model.digest import DIGESTS, check_digests
from components.model.export import export
from components.model.files import MODEL_CARD, TOWER_WEIGHTS, read_card
from components.model.normalisation import CohortNormalisation
from components.model.published import PublishedModel
from components.model.published_parts import PublishedParts
from components.model.recordings import FrontEnd
from components.model.tower import served_tower
from components.pusher.publish import publish
from components.recording_quality import quality_of
from components.recordings.sources import data_digest, list_recordings
from components.serving_check import check
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from components.terminal import Console
from components.trainer.utterances import EmbeddedWindows, WindowOrigins
from pipeline import cli
from pipeline.models.calibration import (
    CalibratedModel,
    calibrate_model,
    learn_calibration,
)
from pipeline.output.folder import METADATA, claimed, published_versions
from serving.conditions import CalibratedConditions
from tests.bad_recordings import encoded, speech_like

RATE, SPEAKERS = 8_000, 12
TRAINER = TrainerSettings(
    blocks=(1, 1, 1, 1), embedding_size=8, calibration_nearest_fraction=0.5, normalisation_nearest=4
)
SPECTROGRAM = SpectrogramSettings(window_seconds=0.624, n_fft=256, hop_samples=128, n_mels=32)
FRONT_END = FrontEnd(
    SpeechSettings(sample_rate=RATE, require_voice=False), SPECTROGRAM, ServingSettings()
)
QUIET = Console(quiet=True)


@dataclass(frozen=True)
class MadeCalibration:
    """A model, speakers whom it does not know, and the version that these give."""

    model: Path
    data: Path
    output: Path
    done: CalibratedModel


def write_speakers(data: Path, speakers: int = SPEAKERS, seconds: float = 5.0) -> None:
    """Two recordings of each speaker, of one and the same voice; and a broken one."""
    for number in range(speakers):
        folder = data / f"speaker{number:02d}"
        folder.mkdir(parents=True)
        samples = speech_like(number, RATE, 2 * seconds)
        for take, half in enumerate(np.split(samples, 2)):
            soundfile.write(folder / f"{take}.wav", half, RATE, "PCM_16")
    (data / "speaker00" / "broken.wav").write_bytes(b"RIFF and no more")


def write_model(folder: Path) -> Path:
    """A published version with random weights and made normalisation."""
    keras.utils.set_random_seed(0)
    cohort = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    export(
        served_tower(TRAINER, SPECTROGRAM, RATE),
        Calibration(threshold=0.5, slope=4.0),
        FRONT_END,
        {"trainer": TRAINER.model_dump(), "data_digest": "another"},
        str(folder / "trained"),
        unit_norm=True,
        normalisation=CohortNormalisation(
            cohort / np.linalg.norm(cohort, axis=1, keepdims=True), TRAINER.normalisation_nearest
        ),
    )
    return Path(publish(str(folder / "trained"), str(folder / "published")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCalibration:
    folder = tmp_path_factory.mktemp("calibration")
    write_speakers(folder / "calls")
    model = write_model(folder)
    output = folder / "calibrated"
    done = calibrate_model(str(model), str(folder / "calls"), output, QUIET, follow_links=False)
    return MadeCalibration(model, folder / "calls", output, done)


def windows_of(embedding: np.ndarray, names: list[str]) -> EmbeddedWindows:
    """Two recordings of each speaker, with a window in each; [2 * speakers, D]."""
    speaker = np.repeat([name.encode() for name in names], 2).astype(object)
    recording = np.array([f"{number}".encode() for number in range(len(speaker))], object)
    origins = WindowOrigins(speaker, recording, np.zeros(len(speaker), np.float32))
    return EmbeddedWindows(embedding.astype(np.float32), origins, 1.0, unit_norm=False)


def test_the_card_says_how_good_the_recordings_were(made: MadeCalibration) -> None:
    conditions = CalibratedConditions.of_card(read_card(Path(made.done.path)))
    recording = soundfile.read(made.data / "speaker03" / "1.wav", dtype="int16")[0]
    quality = quality_of(recording, RATE, 5.0)
    assert conditions.least_bandwidth_hz == pytest.approx(quality.bandwidth_hz, rel=0.2)
    assert conditions.least_snr_db <= quality.snr_db + 1.0
    assert conditions.warnings({"it": quality}) == ()
    assert len(conditions.warnings({"it": replace(quality, snr_db=0.0)})) == 1


def test_the_threshold_is_another_and_the_embeddings_are_the_same(made: MadeCalibration) -> None:
    before, after = PublishedModel(made.model), PublishedModel(Path(made.done.path))
    wavs = [encoded(speech_like(seed, RATE), RATE, subtype="PCM_16") for seed in range(3)]
    one, other = (model.embed(wavs).embedding for model in (before, after))
    assert one.tobytes() == other.tobytes()
    (distance, probability, _), (same_distance, another, _) = (
        model.score(one[:1], one[1:2]) for model in (before, after)
    )
    np.testing.assert_array_equal(distance, same_distance)
    assert probability != another
    assert after.card["model_digest"] == before.card["model_digest"] == made.done.model_digest
    assert (made.done.former_threshold, made.done.former_slope) == (0.5, 4.0)
    assert (after.card["threshold"], after.card["slope"]) == (
        made.done.threshold,
        made.done.slope,
    )
    assert made.done.threshold != 0.5 and made.done.slope > 0.0


def test_the_new_card_tells_what_it_was_calibrated_on_and_what_to_expect(
    made: MadeCalibration,
) -> None:
    version = Path(made.done.path)
    check_digests(version)
    card, former = read_card(version), read_card(made.model)
    (described,) = (
        tf.saved_model.load(str(version))
        .signatures["describe"](query=tf.constant([""]))["card"]
        .numpy()
    )
    assert json.loads(described) == card
    assert card["calibrated_on"] == {
        "data": "calls",
        "data_digest": data_digest(list_recordings(str(made.data))),
        "speakers": SPEAKERS,
        "recordings": 2 * SPEAKERS,
    }
    changed = {"calibration", "calibrated_on", "threshold", "slope"}
    assert {name: card[name] for name in card.keys() - changed} == {
        name: former[name] for name in former.keys() - changed
    }
    report = card["calibration"]
    assert report["speakers"] == SPEAKERS
    assert report["nontargets"][0]["false_accept_rate"]["high"] is not None
    assert [point["speakers_needed"] for point in report["operating_points"]][:1] == [36]
    # 8 windows of 0.624 s fit into 5 s: of two of them 4 utterances in each recording.
    assert report["nontargets"][0]["dissimilar"] == SPEAKERS * (SPEAKERS - 1) // 2 * 8 * 8
    assert [(each.name, each.reason) for each in made.done.unused] == [
        ("speaker00/broken.wav", "not_audio")
    ]


def test_the_same_recordings_give_the_same_model(made: MadeCalibration, tmp_path: Path) -> None:
    done = calibrate_model(str(made.model), str(made.data), tmp_path, QUIET, follow_links=False)
    assert replace(done, path=made.done.path) == made.done
    one, other = Path(made.done.path), Path(done.path)
    assert (one / MODEL_CARD).read_bytes() == (other / MODEL_CARD).read_bytes()
    readers = [
        tf.train.load_checkpoint(str(each / "variables" / "variables")) for each in (one, other)
    ]
    names = readers[0].get_variable_to_shape_map().keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert {"threshold/.ATTRIBUTES/VARIABLE_VALUE", "slope/.ATTRIBUTES/VARIABLE_VALUE"} < names
    for name in names:
        np.testing.assert_array_equal(*(reader.get_tensor(name) for reader in readers))


def test_a_calibrated_version_is_calibrated_again_beside_it(
    made: MadeCalibration, tmp_path: Path
) -> None:
    versions = tmp_path / "published"
    shutil.copytree(made.model.parent, versions)
    (tmp_path / METADATA).touch()
    write_speakers(tmp_path / "others", seconds=3.0)
    options = {"follow_links": False}
    first = calibrate_model(str(versions), str(made.data), versions, QUIET, **options)
    second = calibrate_model(str(versions), str(tmp_path / "others"), versions, QUIET, **options)
    assert (first.former_threshold, second.former_threshold) == (0.5, first.threshold)
    found = published_versions(tmp_path)
    assert [each.threshold for each in found.values()] == [0.5, first.threshold, second.threshold]
    assert {each.model_digest for each in found.values()} == {made.done.model_digest}
    with claimed(tmp_path), pytest.raises(SwarError, match="another run is writing"):
        calibrate_model(str(versions), str(made.data), versions, QUIET, **options)
    assert published_versions(tmp_path) == found


def test_too_few_speakers_are_refused(made: MadeCalibration, tmp_path: Path) -> None:
    few = tmp_path / "few"
    write_speakers(few, speakers=9)
    message = r"few: 9 speakers with recordings, and from fewer than 10 .* add speakers"
    with pytest.raises(SwarError, match=message):
        calibrate_model(str(made.model), str(few), tmp_path / "o", QUIET, follow_links=False)
    # One more, with less than a window of speech.
    (few / "tenth").mkdir()
    soundfile.write(few / "tenth" / "0.wav", speech_like(10, RATE, 0.4), RATE, "PCM_16")
    message = r"few: 9 speakers with two utterances of 0\.624 s each, and from fewer than 10"
    with pytest.raises(SwarError, match=message):
        calibrate_model(str(made.model), str(few), tmp_path / "o", QUIET, follow_links=False)
    assert not (tmp_path / "o").exists()


def test_speakers_of_the_training_are_refused(made: MadeCalibration, tmp_path: Path) -> None:
    model = shutil.copytree(made.model, tmp_path / "1")
    trained_on = {"data_digest": data_digest(list_recordings(str(made.data)))}
    (model / MODEL_CARD).write_text(json.dumps(read_card(model) | trained_on))
    (model / DIGESTS).unlink()
    with pytest.raises(SwarError, match=r"calls is what .* was trained on"):
        calibrate_model(str(model), str(made.data), tmp_path / "o", QUIET, follow_links=False)


def test_speakers_whom_the_model_does_not_tell_apart_are_refused() -> None:
    names = [f"s{number:02d}" for number in range(20)]
    # Two windows of a speaker lie on opposite sides, one of each on either.
    sides = np.where(np.arange(40) % 2, 1.0, -1.0)[:, np.newaxis]
    near = np.random.default_rng(0).normal(size=(40, 3)) * 0.01
    with pytest.raises(SwarError, match=r"calls apart: .* no nearer than of two"):
        learn_calibration("calls", windows_of(sides + near, names), TRAINER.seed)


def test_a_model_that_embeds_otherwise_today_is_refused(
    made: MadeCalibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "components.frontend.Quantise.call",
        lambda self, decibels: tf.cast(tf.zeros_like(decibels), tf.uint8),
    )
    with pytest.raises(SwarError, match="embeds otherwise than this one: calibrate it with that"):
        calibrate_model(str(made.model), str(made.data), tmp_path / "o", QUIET, follow_links=False)
    assert not (tmp_path / "o").exists()


def test_a_version_that_no_server_answers_from_is_not_published(
    made: MadeCalibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_PROGRAM", "raise SystemExit('odd')")
    with pytest.raises(SwarError, match=r"does not answer .*: odd"):
        calibrate_model(str(made.model), str(made.data), tmp_path / "o", QUIET, follow_links=False)
    assert not (tmp_path / "o").exists()


def test_a_version_is_read_without_the_settings_that_there_are_no_more(
    made: MadeCalibration, tmp_path: Path
) -> None:
    model = shutil.copytree(made.model, tmp_path / "1")
    card = read_card(model)
    card["trainer"]["given_up"] = 1
    (model / MODEL_CARD).write_text(json.dumps(card))
    parts = PublishedParts.read(model)
    assert (parts.trainer, parts.front_end) == (TRAINER, FRONT_END)
    assert parts.cohort is not None and parts.cohort.shape == (12, 8)
    (model / TOWER_WEIGHTS).unlink()
    with pytest.raises(SwarError, match="was published by another version of swar"):
        PublishedParts.read(model)


def exit_status(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["swar", "calibrate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_command_shows_what_was_published(
    made: MadeCalibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    arguments = (made.model, "--data", made.data, "--output", tmp_path / "new")
    asked = []

    def published(*positional: object, **named: object) -> CalibratedModel:
        asked.append((positional[:3], named))
        return made.done

    monkeypatch.setattr("pipeline.models.calibration.calibrate_model", published)
    assert exit_status(monkeypatch, *arguments, "--follow-links") == 0
    assert asked == [((str(made.model), str(made.data), tmp_path / "new"), {"follow_links": True})]
    shown = capfd.readouterr().out
    for text in (
        made.done.path,
        f"{made.done.threshold:.3f}, was 0.500",
        "calls (",
        "12 speakers, 24 recordings",
        "5 %: takes 36 speakers",
        "1 not_audio",
    ):
        assert text in shown
    assert exit_status(monkeypatch, *arguments, "--json") == 0
    described = json.loads(capfd.readouterr().out)
    assert described["threshold"] == made.done.threshold
    assert described["calibration"] == made.done.calibration


def test_a_folder_of_speakers_is_no_folder_of_versions(
    made: MadeCalibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Publishing removes numbered folders that were cut short."""
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "a.wav").touch()
    arguments = (made.model, "--data", made.data, "--output", tmp_path)
    assert exit_status(monkeypatch, *arguments) == 2
    assert "17 is no published model: choose another folder" in capfd.readouterr().err
    assert os.listdir(tmp_path / "17") == ["a.wav"]
