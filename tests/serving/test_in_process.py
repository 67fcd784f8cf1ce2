"""Verify, enrol and identify without a server: the model runs in this process."""

import json
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from components.errors import SwarError
from components.model import base as base_model
from components.model.base import BaseModel, base_model_folder
from components.model.calibration import Calibration
from components.model.digest import DIGESTS, write_digests
from components.model.export import export
from components.model.files import model_folder
from components.model.normalisation import CohortNormalisation
from components.model.recordings import FrontEnd
from components.model.tower import build_tower
from components.settings import (
    ServingSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from pipeline import cli
from serving.client import Client
from tests.bad_recordings import speech_like

RATE = 8_000
SPEECH = SpeechSettings(sample_rate=RATE, require_voice=False)
SPECTROGRAM = SpectrogramSettings(window_seconds=0.624, n_fft=256, hop_samples=128, n_mels=32)
SERVING = ServingSettings(max_seconds=30.0)
TRAINER = TrainerSettings(blocks=(1, 1, 1, 1), embedding_size=8, normalisation_nearest=5)
# Of a tower with random weights, in which everybody is near to everybody: above all distances.
EVERYBODY, NOBODY = 10.0, -10.0


def small_tower() -> Any:
    return build_tower(TRAINER, SPECTROGRAM.n_mels, SPECTROGRAM.frames(RATE))


def publish(folder: Path, threshold: float) -> Path:
    """A folder of versions with one that was never trained."""
    export(
        small_tower(),
        Calibration(threshold, slope=40.0),
        FrontEnd(SPEECH, SPECTROGRAM, SERVING),
        {},
        str(folder / "7"),
        unit_norm=True,
    )
    write_digests(folder / "7")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "same": publish(folder / "same", EVERYBODY),
        "different": publish(folder / "different", NOBODY),
    }


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small base model in place of the package's, and an empty cache."""
    cohort = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    cohort /= np.linalg.norm(cohort, axis=1, keepdims=True)
    card = {
        "trainer": TRAINER.model_dump(mode="json"),
        "speech": SPEECH.model_dump(mode="json"),
        "spectrogram": SPECTROGRAM.model_dump(mode="json"),
        "serving": SERVING.model_dump(mode="json"),
        "sample_rate": RATE,
        "threshold": EVERYBODY,
        "slope": 40.0,
    }
    package = tmp_path / "pretrained"
    package.mkdir()
    BaseModel(card, small_tower().get_weights(), cohort).write(package)
    files = resources.files  # other libraries find their own files by it
    monkeypatch.setattr(
        resources, "files", lambda name: package if name == "pretrained" else files(name)
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield package


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.wav", "b.flac", "c.wav")]
    for seed, path in enumerate(paths):
        soundfile.write(path, 0.3 * speech_like(seed, RATE, 6.0), RATE)
    return paths


def swar(monkeypatch: Any, capfd: Any, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["swar", *map(str, arguments)])
    status = 0
    try:
        cli.main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    printed = capfd.readouterr()
    return status, printed.out, printed.err


def test_a_model_from_elsewhere_is_named_code_in_one_line(
    models: Any, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    model = shutil.copytree(models["same"], tmp_path / "model")
    (model / "7" / DIGESTS).unlink()
    a, b, _ = recordings
    status, _, err = swar(monkeypatch, capfd, "verify", a, b, "--model", model)
    assert status == 0
    assert len(err.splitlines()) == 1
    assert "A model is code" in err


def test_a_model_that_was_changed_is_not_loaded(
    models: Any, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    model = shutil.copytree(models["same"], tmp_path / "model")
    (model / "7" / "assets.extra" / "added").touch()
    a, b, _ = recordings
    status, _, err = swar(monkeypatch, capfd, "verify", a, b, "--model", model)
    assert status == 2
    assert "assets.extra/added was changed, added or removed" in err


def test_verify_ends_with_the_models_decision(
    models: Any, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b, _ = recordings
    status, out, err = swar(monkeypatch, capfd, "verify", a, b, "--model", models["same"])
    assert (status, err) == (0, "")
    assert out.startswith("same speaker (probability above 99.9 %")
    version = models["different"] / "7"
    status, out, err = swar(monkeypatch, capfd, "verify", a, b, "--model", version, "--json")
    assert (status, err, json.loads(out)["same_speaker"]) == (1, "", False)


def test_speakers_are_enrolled_and_identified(
    models: Any, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b, c = recordings
    monkeypatch.setenv("SWAR_GALLERY", "gallery")
    by = ("--model", models["same"])
    assert swar(monkeypatch, capfd, "enroll", "Asha", a, "--keep-audio", *by)[0] == 0
    assert swar(monkeypatch, capfd, "enroll", "Bina", b, "--keep-audio", *by)[0] == 0
    status, out, err = swar(monkeypatch, capfd, "identify", a, "--json", *by)
    assert (status, err, json.loads(out)["speaker"]) == (0, "gallery: gallery\n", "Asha")
    assert swar(monkeypatch, capfd, "verify", c, "--speaker", "Bina", *by)[0] == 0
    other = ("--model", models["different"])
    assert swar(monkeypatch, capfd, "reenroll", *other)[0] == 0
    status, out, _ = swar(monkeypatch, capfd, "identify", a, *other)
    assert (status, out.splitlines()[0]) == (1, "unknown")


def test_a_timeline_is_made_in_this_process(
    models: Any, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b, _ = recordings
    by = ("--model", models["same"])
    assert swar(monkeypatch, capfd, "enroll", "Asha", a, *by)[0] == 0
    samples = [soundfile.read(path)[0] for path in (a, b)]
    soundfile.write("call.wav", np.concatenate([*samples, np.zeros(2 * RATE), *samples]), RATE)
    status, out, err = swar(monkeypatch, capfd, "identify", "--timeline", "call.wav", "--json", *by)
    answer = json.loads(out)
    assert (status, len(err.splitlines())) == (0, 1)
    assert err.startswith("gallery: ")
    assert answer["recording_seconds"] == pytest.approx(26.0)
    assert {turn["speaker"] for turn in answer["turns"]} == {"Asha"}
    (before, after) = (
        [turn for turn in answer["turns"] if (turn["start_seconds"] > 13.0) is later]
        for later in (False, True)
    )
    assert max(turn["end_seconds"] for turn in before) <= 12.2
    assert min(turn["start_seconds"] for turn in after) >= 13.8


@pytest.mark.slow
def test_nothing_but_the_answer_is_on_the_terminal(models: Any, recordings: Any) -> None:
    """TensorFlow's own messages are of its start, so that it takes a process of its own."""
    a, b, _ = recordings
    code = "import sys; sys.argv[0] = 'swar'; from pipeline.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "verify", a, b, "--model", models["different"]],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    verdict, _, of_a, of_b, *warnings = ended.stdout.splitlines()
    assert verdict.startswith("different speakers (")
    assert of_a.startswith("recording A: ") and of_b.startswith("recording B: ")
    assert all(each.startswith("warning: ") for each in warnings)


def test_the_page_has_a_model_in_this_process(
    models: Any, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAR_GALLERY", "gallery")
    given: list[Any] = []

    def launch(client: Client, gallery: Any, _: Any) -> None:
        given.append((client.sample_rate, gallery.uri, client.verify(*recordings[:2])))

    page = types.ModuleType("serving.web.page")
    page.launch = launch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "serving.web.page", page)
    status, _, err = swar(monkeypatch, capfd, "app", "--model", models["same"])
    assert (status, err) == (0, "")
    ((rate, gallery, decision),) = given
    assert (rate, gallery, decision.same_speaker) == (RATE, "gallery", True)


def test_what_cannot_be_used_is_one_line(
    models: Any, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b, _ = recordings
    model = models["same"]
    soundfile.write("silent.wav", np.zeros(3 * RATE), RATE)
    cases = {
        "no-such.wav": ("verify", "no-such.wav", a, "--model", model),
        "'silent.wav' is silent": ("verify", "silent.wav", a, "--model", model),
        "no-model": ("verify", a, b, "--model", "no-model"),
        "give one of them": ("verify", a, b, "--model", model, "--url", "grpc://127.0.0.1:1"),
        "--deadline is about a server": ("identify", a, "--deadline", 3),
    }
    for message, arguments in cases.items():
        status, out, err = swar(monkeypatch, capfd, *arguments)
        assert (status, out) == (2, ""), message
        assert err.startswith("swar: error: ") and err.count("\n") == 1
        assert message in err


def test_client_and_endpoint_give_the_same_answers(models: Any, recordings: Any) -> None:
    """What the signatures answer goes through the same checks as a server's answer."""
    with Client.in_process(str(models["same"])) as client:
        assert client.sample_rate == RATE
        embeddings = client.embed([*recordings, recordings[0]])
        assert [each.status for each in embeddings] == ["ok"] * 4
        np.testing.assert_array_equal(embeddings[0].vector, embeddings[3].vector)
        assert client.model_digest() == embeddings[0].model_digest
        decisions = client.score(
            [embeddings[0].vector] * 2, [each.vector for each in embeddings[1:3]]
        )
        assert [decision.same_speaker for decision in decisions] == [True, True]
        verified = client.verify(recordings[0], recordings[1])
        assert verified.distance == pytest.approx(decisions[0].distance, abs=1e-5)


def test_the_base_model_is_made_once_and_found_again(
    released: Path, recordings: Any, tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b, _ = recordings
    status, out, err = swar(monkeypatch, capfd, "verify", a, b)
    assert (status, out.startswith("same speaker")) == (0, True), err
    assert err.startswith("making the base model ready, once: ") and err.count("\n") == 1
    (made,) = (tmp_path / "cache" / "swar").iterdir()
    assert base_model_folder() == model_folder("base") == made / "1"
    status, _, err = swar(monkeypatch, capfd, "verify", a, b, "--model", "base")
    assert (status, err) == (0, "")
    # Other weights are another model.
    card = json.loads((released / "base.json").read_text()) | {"threshold": NOBODY}
    (released / "base.json").write_text(json.dumps(card))
    assert swar(monkeypatch, capfd, "verify", a, b)[0] == 1
    assert len(list((tmp_path / "cache" / "swar").iterdir())) == 2


def test_the_base_model_answers_as_its_weights_do(released: Path, recordings: Any) -> None:
    base = BaseModel.read()
    with Client.in_process("base") as client:
        one, other = (each.vector for each in client.embed(recordings[:2]))
        (decision,) = client.score([one], [other])
    normalisation = CohortNormalisation(base.cohort, TRAINER.normalisation_nearest)
    sides = [normalisation.moments(vector[np.newaxis]) for vector in (one, other)]
    distance = normalisation.normalise(np.linalg.norm((one - other)[np.newaxis], axis=1), *sides)
    assert decision.distance == pytest.approx(float(distance[0]), abs=1e-4)


def test_a_cache_that_cannot_be_written_is_named(
    released: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SwarError, match=r"the base model cannot be written to .*XDG_CACHE_HOME"):
        base_model_folder()


def test_a_base_model_that_was_cut_off_is_made_again(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path) -> None:
        folder.mkdir(parents=True)
        raise KeyboardInterrupt

    def whole(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()

    monkeypatch.setattr(base_model, "_export", killed)
    with pytest.raises(KeyboardInterrupt):
        base_model_folder()
    monkeypatch.setattr(base_model, "_export", whole)
    assert (base_model_folder() / "saved_model.pb").is_file()
    assert len(list((tmp_path / "cache" / "swar").iterdir())) == 1
