import csv
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import NoReturn

import imageio_ffmpeg
import librosa
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from components.errors import SwarError
from components.features import GENDERS
from pipeline.sample_data.espeak import Espeak, Voice, variant_path
from pipeline.sample_data.sentences import PATTERNS, SENTENCES, endless_sentences
from pipeline.sample_data.speakers import VOICES, plan_speakers
from pipeline.sample_data.speech import SampleSummary, render, write_sample_speech

SPEAKERS = 6
SECONDS = 10.0
COMPARISON_RATE = 16_000
# Variants whose sound hangs on espeak's own random numbers, and on libc's (Reed).
RANDOM_VOICES = ("f2", "sandro", "victor", "Reed")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleSummary]:
    folder = tmp_path_factory.mktemp("sample") / "नमुना data"
    return folder, write_sample_speech(folder, speakers=SPEAKERS, seconds=SECONDS, processes=2)


def recordings_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def decoded(path: Path) -> NDArray[np.float32]:
    """Mono samples at COMPARISON_RATE, through a decoder that shares nothing with the writer."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    raw = ("-f", "f32le", "-ac", "1", "-ar", str(COMPARISON_RATE), "-")
    run = subprocess.run(
        [ffmpeg, "-v", "error", "-i", path, *raw],
        capture_output=True,
        check=True,
    )
    assert run.stderr == b""
    return np.frombuffer(run.stdout, "<f4")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_folder_holds_what_the_summary_says(sample: tuple[Path, SampleSummary]) -> None:
    folder, summary = sample
    recordings = recordings_of(folder)
    assert (summary.speakers, summary.recordings) == (SPEAKERS, len(recordings))
    assert summary.seconds == pytest.approx(SPEAKERS * SECONDS, rel=0.001)
    assert "synthetic" in str(summary) and str(folder) in str(summary)
    per_speaker = Counter(path.parent.name for path in recordings)
    assert len(per_speaker) == SPEAKERS
    assert set(per_speaker.values()) <= {2, 3, 4}
    assert {path.name for path in folder.iterdir()} == {*per_speaker, "SPEAKERS.tsv"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_formats_rates_and_channels_are_mixed(sample: tuple[Path, SampleSummary]) -> None:
    recordings = recordings_of(sample[0])
    assert {path.suffix for path in recordings} == {".wav", ".flac", ".mp3", ".ogg", ".m4a"}
    infos = [soundfile.info(path) for path in recordings if path.suffix != ".m4a"]
    assert {info.subtype for info in infos if info.format == "WAV"} == {"PCM_16", "PCM_24"}
    assert len({info.samplerate for info in infos}) >= 3
    assert {info.channels for info in infos} == {1, 2}


def test_every_recording_decodes_to_speech_of_the_right_length(
    sample: tuple[Path, SampleSummary],
) -> None:
    seconds: defaultdict[str, float] = defaultdict(float)
    peaks_dbfs = []
    for path in recordings_of(sample[0]):
        samples = decoded(path)
        seconds[path.parent.name] += len(samples) / COMPARISON_RATE
        peaks_dbfs.append(20 * np.log10(np.abs(samples).max()))
    assert list(seconds.values()) == pytest.approx([SECONDS] * SPEAKERS, rel=0.05)
    assert min(peaks_dbfs) > -18 and max(peaks_dbfs) < 0.5
    assert max(peaks_dbfs) - min(peaks_dbfs) > 3


def test_speakers_file_tells_gender_and_that_speech_is_synthetic(
    sample: tuple[Path, SampleSummary],
) -> None:
    with (sample[0] / "SPEAKERS.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["speaker"] for row in rows} == {p.parent.name for p in recordings_of(sample[0])}
    assert [(row["variant"], row["gender"]) for row in rows] == list(VOICES[:SPEAKERS])
    assert {row["gender"] for row in rows} == set(GENDERS)
    assert {(row["synthetic"], row["synthesizer"]) for row in rows} == {("yes", "espeak-ng")}


def test_same_bytes_whatever_the_number_of_processes(
    sample: tuple[Path, SampleSummary], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    write_sample_speech(again, speakers=SPEAKERS, seconds=SECONDS, processes=1)
    assert digests(again) == digests(sample[0])


def test_another_seed_gives_other_people_other_words() -> None:
    first, second = (plan_speakers(len(VOICES), 60.0, seed) for seed in (0, 1))
    for plans in (first, second):
        assert len({plan.name for plan in plans}) == len(VOICES)
        assert len({r.seed for plan in plans for r in plan.recordings}) == sum(
            len(plan.recordings) for plan in plans
        )
    assert all(a.recordings != b.recordings for a, b in zip(first, second, strict=True))
    assert plan_speakers(3, 60.0, 0) == first[:3]


@pytest.mark.parametrize("variant", RANDOM_VOICES)
def test_speech_does_not_depend_on_what_was_said_before(variant: str) -> None:
    def said() -> bytes:
        with Espeak(Voice(variant, 45, 60, 150), seed=7) as espeak:
            return espeak.say(SENTENCES[0]).tobytes() + espeak.say(SENTENCES[1]).tobytes()

    first = said()
    with Espeak(Voice("Alicia", 60, 40, 190), seed=1) as espeak:
        espeak.say(SENTENCES[2])
    assert said() == first


def test_speakers_differ_more_between_than_within() -> None:
    plans = plan_speakers(12, 15.0, seed=0)
    voices = [
        [
            _mean_mfcc(render(recording)[:, 0], recording.sample_rate)
            for recording in plan.recordings
        ]
        for plan in plans
    ]
    within = [
        np.linalg.norm(a - b) for voice in voices for i, a in enumerate(voice) for b in voice[:i]
    ]
    between = [
        np.linalg.norm(a - b)
        for i, voice in enumerate(voices)
        for other in voices[:i]
        for a in voice
        for b in other
    ]
    assert 2 * np.median(within) < np.median(between)
    # Not trivially so: some recordings of one person lie further apart than those of two.
    assert max(within) > min(between)


def _mean_mfcc(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Mean of MFCC 1-19 over the loud frames: [19]."""
    mono = librosa.resample(samples, orig_sr=sample_rate, target_sr=COMPARISON_RATE)
    mels = librosa.feature.melspectrogram(
        y=mono / np.abs(mono).max(), sr=COMPARISON_RATE, n_fft=512, hop_length=256, n_mels=40
    )
    level = librosa.power_to_db(mels.sum(axis=0), ref=np.max)
    decibels = librosa.power_to_db(mels[:, level > -30], ref=np.max)
    mean: NDArray[np.float32] = librosa.feature.mfcc(S=decibels, n_mfcc=20)[1:].mean(axis=1)
    return mean


def test_voices_are_those_of_espeak_with_its_genders() -> None:
    assert len(VOICES) >= 34
    assert len({variant for variant, _ in VOICES}) == len(VOICES)
    for variant, gender in VOICES:
        text = variant_path(variant).read_text(encoding="utf-8")
        stated = re.search(r"^\s*gender\s+(\w+)", text, re.MULTILINE)
        assert gender == (stated[1].lower() if stated else "unknown"), variant


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(SwarError, match=r"no voice ne\+nobody"):
        Espeak(Voice("nobody", 50, 50, 160), seed=0)


def test_only_one_espeak_at_a_time() -> None:
    voice = Voice("f2", 50, 50, 160)
    with Espeak(voice, seed=0), pytest.raises(RuntimeError, match="already in use"):
        Espeak(voice, seed=0)
    Espeak(voice, seed=0).close()


def test_sentences_are_many_varied_and_devanagari() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) >= 60
    assert len(set(PATTERNS)) == len(PATTERNS)
    said = list(islice(endless_sentences(np.random.default_rng(0)), 2000))
    assert len(set(said)) > 700
    devanagari = re.compile(r"[\u0900-\u097f\u200d ,]+।")
    assert [sentence for sentence in said if not devanagari.fullmatch(sentence)] == []


@pytest.mark.parametrize(
    ("speakers", "seconds", "message"),
    [
        (1, 60.0, "cannot make 1 speakers; ask for 2 to"),
        (len(VOICES) + 1, 60.0, f"ask for 2 to {len(VOICES)}"),
        (2, 4.0, "cannot make 4 seconds .* at least 5"),
        (2, float("nan"), "at least 5"),
    ],
)
def test_wrong_amounts_are_refused(
    tmp_path: Path, speakers: int, seconds: float, message: str
) -> None:
    with pytest.raises(SwarError, match=message):
        write_sample_speech(tmp_path / "data", speakers=speakers, seconds=seconds)
    assert list(tmp_path.iterdir()) == []


def test_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(SwarError, match="is not an empty folder; choose another"):
            write_sample_speech(folder, speakers=2, seconds=5.0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    summary = write_sample_speech(folder, speakers=2, seconds=5.0)
    assert len(recordings_of(folder)) == summary.recordings


def test_unwritable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        SwarError, match=r"cannot write .*file/data: File exists \(.*file\); choose"
    ):
        write_sample_speech(tmp_path / "file" / "data", speakers=2, seconds=5.0)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (OSError(28, "No space left on device"), "cannot write .*data: No space left on device"),
        (BrokenProcessPool("a child died"), "was killed; free some memory"),
    ],
)
def test_failure_halfway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, message: str
) -> None:
    def fail(*_: object) -> Iterator[NoReturn]:
        raise fault

    monkeypatch.setattr(ProcessPoolExecutor, "map", fail)
    with pytest.raises(SwarError, match=message):
        write_sample_speech(tmp_path / "data", speakers=2, seconds=5.0)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, and so do its children.
    command = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pipeline.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-c", command, "sample-data", "speech"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as started:
        while not list(tmp_path.glob(".speech.*/speech/*/*")):
            assert started.poll() is None
            time.sleep(0.1)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        try:
            output, _ = started.communicate(timeout=60)
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
    assert (started.returncode, output) == (130, "")
    assert list(tmp_path.iterdir()) == []
