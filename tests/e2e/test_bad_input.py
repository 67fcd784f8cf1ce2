"""Bad input ends in one line that names it and status 2, before anything is trained."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.code_digest import SOURCE_ROOT
from tests.bad_recordings import encoded, speech_like
from tests.e2e.support_runs import SPEECH, Ended, arguments

pytestmark = pytest.mark.slow
RATE = 16_000
Change = Callable[[Path], object]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three speakers with two recordings of three seconds each."""
    folder = tmp_path / "data"
    for number, speaker in enumerate(("asha", "bina", "chandra")):
        (folder / speaker).mkdir(parents=True)
        for take in range(2):
            _write(folder / speaker / f"{take}.wav", 10 * number + take)
    return folder


def _write(path: Path, seed: int) -> None:
    path.write_bytes(encoded(speech_like(seed, RATE), RATE))


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _remove_all(data: Path) -> None:
    for speaker in data.iterdir():
        _remove(speaker)


def _remove_all_but_one(data: Path) -> None:
    _remove(data / "bina")
    _remove(data / "chandra")


def _replace_by_a_file(data: Path) -> None:
    _remove_all(data)
    data.rmdir()
    data.write_text("")


def _share_a_recording(data: Path) -> None:
    (data / "bina" / "again.wav").write_bytes((data / "asha" / "0.wav").read_bytes())


def _silence_a_speaker(data: Path) -> None:
    _remove(data / "chandra")
    (data / "chandra").mkdir()


def _spoil_a_third(data: Path) -> None:
    for speaker in ("asha", "bina"):
        (data / speaker / "1.wav").write_bytes(b"no sound")


def _assert_told(ended: Ended, *words: str) -> None:
    assert ended.status == 2
    assert ended.err.startswith("swar: error: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith("\n")
    assert [word for word in words if word not in ended.err] == []
    assert "Traceback" not in ended.out


# Found before anything is written.
LISTED: dict[str, tuple[Change, tuple[str, ...]]] = {
    "missing folder": (
        lambda data: data.rename(data.with_name("elsewhere")),
        ("/data' does not exist",),
    ),
    "empty folder": (_remove_all, ("/data' holds no speaker's folder",)),
    "a file": (
        _replace_by_a_file,
        ("/data' is no folder, .csv or .tsv",),
    ),
    "a wrong table": (
        lambda data: (data / "SPEAKERS.tsv").write_text("name\nasha\n"),
        ("SPEAKERS.tsv", "speaker"),
    ),
}
# Manifests of the same recordings.
MANIFESTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cuts that share sound": (
        "path,speaker,start_seconds,end_seconds\n"
        "asha/0.wav,asha,0,2\nasha/0.wav,asha,1,3\nbina/0.wav,bina,0,2\n",
        ("'asha/0.wav#0-2' and 'asha/0.wav#1-3' overlap: correct their seconds",),
    ),
}
# Found when the recordings are decoded.
DECODED: dict[str, tuple[Change, tuple[str, ...]]] = {
    "one speaker": (_remove_all_but_one, ("1 speaker(s)", "at least 2")),
    "a speaker without recordings": (
        _silence_a_speaker,
        ("nothing usable of 1 of 3 speakers, more than 10%: 'chandra'",),
    ),
    "too many rejects": (
        _spoil_a_third,
        ("2 of 6 recordings rejected, more than 10%", "'asha/1.wav' (not_audio)", "'bina/1.wav'"),
    ),
    "the same audio twice": (
        _share_a_recording,
        ("the same audio under two speakers: 'asha/0.wav' and 'bina/again.wav'",),
    ),
    "too few speakers": (lambda data: None, ("3 speakers are too few to hold 2 out of training",)),
}


@pytest.mark.parametrize("kind", LISTED)
def test_input_that_holds_nothing_leaves_nothing(
    kind: str, data: Path, tmp_path: Path, swar: Callable[[list[str]], Ended]
) -> None:
    change, words = LISTED[kind]
    change(data)
    ended = swar(arguments(data, tmp_path / "output"))
    _assert_told(ended, *words)
    assert ended.out == ""
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_contradicts_itself_leaves_nothing(
    kind: str, data: Path, tmp_path: Path, swar: Callable[[list[str]], Ended]
) -> None:
    text, words = MANIFESTS[kind]
    (data / "speech.csv").write_text(text)
    _assert_told(swar(arguments(data / "speech.csv", tmp_path / "output")), *words)
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("kind", DECODED)
def test_input_that_makes_no_model_stops_before_the_training(
    kind: str, data: Path, tmp_path: Path, swar: Callable[[list[str]], Ended]
) -> None:
    change, words = DECODED[kind]
    change(data)
    ended = swar(arguments(data, tmp_path / "output"))
    _assert_told(ended, *words)
    assert ended.states()[SPEECH] == "failed"
    left = {path.name for path in (tmp_path / "output").iterdir()}
    assert left == {"artifacts", "logs", "metadata.sqlite", ".lock"}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("data/output", "/data/output lies in the data, /"),
        ("runs [x]", "/runs [x], holds [ and ], which Beam takes for a pattern"),
    ],
)
def test_an_output_where_none_can_be_is_not_made(
    place: str, words: str, data: Path, tmp_path: Path, swar: Callable[[list[str]], Ended]
) -> None:
    _assert_told(swar(arguments(data, tmp_path / place)), words)
    assert not (tmp_path / place).exists()


@pytest.mark.parametrize("below", ["", "below/it"])
def test_a_file_in_the_place_of_the_output_folder_is_kept(
    below: str, data: Path, tmp_path: Path, swar: Callable[[list[str]], Ended]
) -> None:
    (tmp_path / "output").write_text("mine")
    output = tmp_path / "output" / below
    _assert_told(swar(arguments(data, output)), f"cannot write to the output folder {output}")
    assert (tmp_path / "output").read_text() == "mine"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trainer.epoch=2", 'unknown setting "trainer.epoch"'),
        ("trainer.seed=-1", 'wrong value -1 for "trainer.seed"'),
        ("trainer.epochs=0", 'wrong value 0 for "trainer.epochs"'),
        ("speech.train_fraction=1.0", "train_fraction + calibration_fraction must be below 1"),
    ],
)
def test_a_wrong_setting_leaves_nothing(
    setting: str, words: str, data: Path, tmp_path: Path, swar: Callable[[list[str]], Ended]
) -> None:
    _assert_told(swar(arguments(data, tmp_path / "output", setting)), words)
    assert not (tmp_path / "output").exists()


def test_a_process_of_its_own_says_no_more(data: Path, tmp_path: Path) -> None:
    _share_a_recording(data)
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pipeline.cli import main; main()",
            *arguments(data, tmp_path / "output"),
        ],
        capture_output=True,
        text=True,
        cwd=SOURCE_ROOT,
    )
    _assert_told(
        Ended(ended.returncode, ended.stdout, ended.stderr),
        "the same audio under two speakers: 'asha/0.wav' and 'bina/again.wav'",
    )
