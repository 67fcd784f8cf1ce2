"""SpeechExampleGen as a whole: the contract, bad input, and the same bytes each time."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components import audio, features
from components.errors import SwarError
from components.recordings.cleaning import CHANNELS
from components.settings import SpeechSettings
from tests.bad_recordings import OK, speech_like, write_bad_recordings
from tests.support_executors import run_speech

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.silence import split_on_silence

SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "speech.pbtxt"
RATE = 16_000
BY_TIME: Any = {  # few speakers: nobody is held out to calibrate on
    "train_fraction": 0.72,
    "calibration_fraction": 0.08,
    "calibration_speaker_fraction": 0.0,
    "require_voice": False,  # these are made sounds
}
MADE = SpeechSettings(require_voice=False)


def examples(speech):
    for split in features.SPLITS:
        for path in sorted(Path(speech.uri, f"Split-{split}").glob("*")):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                yield split, tf.train.Example.FromString(record)


def values(example):
    return {
        key: getattr(feature, feature.WhichOneof("kind")).value[0]
        for key, feature in example.features.feature.items()
    }


def speech_with_pauses(seed, seconds):
    samples = speech_like(seed, RATE, seconds)
    for start in range(RATE, len(samples), 2 * RATE):
        samples[start : start + RATE * 7 // 10] *= 0.001
    return samples


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number, speaker in enumerate(["asha", "bina", "chandra", "dil", "ekta"]):
        (folder / speaker).mkdir()
        for take in range(2):
            samples = speech_with_pauses(10 * number + take, 9.0)
            by = 2 if speaker == "dil" else 1  # who speaks on the telephone
            soundfile.write(folder / speaker / f"{take}.wav", 0.3 * samples[::by], RATE // by)
    (folder / "SPEAKERS.tsv").write_text("speaker\tgender\nasha\tF\ndil\tmale\n")
    output = tmp_path_factory.mktemp("output")
    settings = SpeechSettings(
        max_piece_seconds=3.0, silence_rule="article", keep_silence_ms=100, **BY_TIME
    )
    speech, rejects = run_speech(str(folder), output, settings)
    return folder, settings, speech, rejects


def test_examples_follow_the_schema(cleaned):
    _, _, speech, rejects = cleaned
    schema = text_format.Parse(SCHEMA.read_text(), schema_pb2.Schema())
    lists = {
        schema_pb2.BYTES: "bytes_list",
        schema_pb2.INT: "int64_list",
        schema_pb2.FLOAT: "float_list",
    }
    kinds = {feature.name: lists[feature.type] for feature in schema.feature}
    (channel,) = (feature for feature in schema.feature if feature.name == features.CHANNEL)
    assert tuple(channel.string_domain.value) == CHANNELS
    found = list(examples(speech))
    assert {split for split, _ in found} == set(features.SPLITS)
    for _, example in found:
        got = {key: feature.WhichOneof("kind") for key, feature in example.features.feature.items()}
        assert got == kinds
    assert Path(rejects.uri, "rejects.jsonl").read_text() == ""


def test_joined_pieces_are_the_articles_recipe(cleaned):
    folder, _, speech, _ = cleaned
    pieces: dict[str, list[tuple[float, str, dict]]] = {}
    for split, example in examples(speech):
        read = values(example)
        key = read["recording"].decode()
        pieces.setdefault(key, []).append((read["start_seconds"], split, read))
    assert len(pieces) == 10
    for recording, parts in pieces.items():
        ordered = [read for _, _, read in sorted(parts, key=lambda part: part[0])]
        joined = b"".join(read["pcm16"] for read in ordered)
        waveform = audio.decode(folder / recording, sample_rate=RATE)
        normalised = (waveform / np.max(np.abs(waveform)) * np.float32(32767)).astype(np.int16)
        segment = AudioSegment(normalised.tobytes(), frame_rate=RATE, sample_width=2, channels=1)
        chunks = split_on_silence(segment, 400, -30, 100)
        expected = b"".join(chunk.raw_data for chunk in chunks)
        assert joined == expected
        kept = len(expected) / len(normalised.tobytes())
        assert ordered[0]["kept_fraction"] == pytest.approx(kept)
        assert 0.5 < kept < 0.95
        for read in ordered:
            assert read["duration_seconds"] == pytest.approx(len(read["pcm16"]) / 2 / RATE)
            assert read["duration_seconds"] <= 3.0


def test_gender_comes_from_the_table(cleaned):
    rows = [values(example) for _, example in examples(cleaned[2])]
    genders = {row["speaker"]: row["gender"] for row in rows}
    assert genders == {
        b"asha": b"female",
        b"bina": b"unknown",
        b"chandra": b"unknown",
        b"dil": b"male",
        b"ekta": b"unknown",
    }


def test_the_channel_comes_from_the_files_rate(cleaned):
    rows = [values(example) for _, example in examples(cleaned[2])]
    channels = {row["speaker"]: row["channel"] for row in rows}
    assert channels.pop(b"dil") == b"telephone"
    assert set(channels.values()) == {b"wideband"}
    assert {row["sample_rate"] for row in rows} == {RATE}


def test_unseen_speakers_are_in_no_other_split(cleaned):
    speakers: dict[str, set[bytes]] = {}
    for split, example in examples(cleaned[2]):
        speakers.setdefault(split, set()).add(values(example)["speaker"])
    assert len(speakers["unseen"]) == 2
    assert speakers["unseen"].isdisjoint(speakers["train"])
    assert speakers["train"] == speakers["calibration"] == speakers["eval"]


def test_the_same_input_gives_the_same_bytes(cleaned, tmp_path):
    folder, settings, speech, _ = cleaned
    again, _ = run_speech(str(folder), tmp_path, settings)
    files = sorted(path.relative_to(speech.uri) for path in Path(speech.uri).rglob("data*"))
    assert files == sorted(path.relative_to(again.uri) for path in Path(again.uri).rglob("data*"))
    for name in files:
        assert Path(speech.uri, name).read_bytes() == Path(again.uri, name).read_bytes()


def test_every_bad_file_is_listed_and_every_good_one_used(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    expected = write_bad_recordings(folder)
    bad = {name: reason for name, reason in expected.items() if reason != OK}
    assert len(set(bad.values())) >= 10 and len(expected) >= 40
    settings = SpeechSettings(unseen_speaker_fraction=0.0, max_reject_fraction=0.9, **BY_TIME)
    speech, rejects = run_speech(str(folder), tmp_path / "output", settings)
    rows = list(map(json.loads, Path(rejects.uri, "rejects.jsonl").read_text().splitlines()))
    assert {row["file"]: row["reason"] for row in rows} == bad
    used = {values(example)["recording"].decode() for _, example in examples(speech)}
    assert used == {name for name, reason in expected.items() if reason == OK}


def test_too_many_rejects_stop_the_run_in_one_line(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_bad_recordings(folder)
    with pytest.raises(SwarError, match="recordings rejected, more than 10%") as error:
        run_speech(str(folder), tmp_path / "output", MADE)
    assert "\n" not in str(error.value)


def test_one_file_under_two_speakers_stops_the_run(tmp_path):
    for speaker in ("asha", "bina"):
        (tmp_path / "data" / speaker).mkdir(parents=True)
    pcm16 = (32767 * speech_like(1, RATE)).astype(np.int16)
    soundfile.write(tmp_path / "data/asha/one.wav", pcm16, RATE)
    soundfile.write(tmp_path / "data/bina/two.flac", pcm16, RATE)
    with pytest.raises(SwarError, match=r"asha/one\.wav.*bina/two\.flac"):
        run_speech(str(tmp_path / "data"), tmp_path / "output", MADE)


def test_trimming_everything_away_rejects(tmp_path):
    for number, speaker in enumerate(("asha", "bina")):
        (tmp_path / "data" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / f"data/{speaker}/1.wav", speech_like(number, RATE), RATE)
    settings = SpeechSettings(trim_head_seconds=60.0, trim_tail_seconds=60.0, require_voice=False)
    with pytest.raises(SwarError, match="too_short"):
        run_speech(str(tmp_path / "data"), tmp_path / "output", settings)


def test_a_speaker_without_any_recording_is_a_reject(tmp_path):
    for number, speaker in enumerate(("asha", "bina", "chandra")):
        (tmp_path / "data" / speaker).mkdir(parents=True)
        if speaker != "chandra":
            soundfile.write(tmp_path / f"data/{speaker}/1.wav", speech_like(number, RATE), RATE)
    settings = SpeechSettings(unseen_speaker_fraction=0.0, **BY_TIME)
    with pytest.raises(SwarError, match=r"nothing usable of 1 of 3 speakers.*'chandra'"):
        run_speech(str(tmp_path / "data"), tmp_path / "stopped", settings)
    lenient = settings.model_copy(update={"max_reject_fraction": 0.4})
    speech, rejects = run_speech(str(tmp_path / "data"), tmp_path / "output", lenient)
    rows = list(map(json.loads, Path(rejects.uri, "rejects.jsonl").read_text().splitlines()))
    assert [(row["file"], row["reason"]) for row in rows] == [
        ("chandra", "empty_folder"),
        ("chandra", "speaker_without_speech"),
    ]
    assert {values(example)["speaker"] for _, example in examples(speech)} == {b"asha", b"bina"}


def test_the_terminal_shows_ten_rejects_and_where_the_others_are(tmp_path, caplog):
    for number, speaker in enumerate(("asha", "bina")):
        (tmp_path / "data" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / f"data/{speaker}/1.wav", speech_like(number, RATE), RATE)
        for hidden in range(10):
            (tmp_path / f"data/{speaker}/.{hidden}").touch()
    settings = SpeechSettings(unseen_speaker_fraction=0.0, **BY_TIME)
    with caplog.at_level(logging.INFO, "swar.progress"):
        _, rejects = run_speech(str(tmp_path / "data"), tmp_path / "output", settings)
    shown = [record.getMessage() for record in caplog.records if "reject" in record.getMessage()]
    assert [line.startswith("rejected ") for line in shown[:-2]] == [True] * 10
    assert shown[-2] == f"and 10 more rejects, all in {rejects.uri}/rejects.jsonl"
