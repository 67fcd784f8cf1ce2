"""SpectrogramPairGen as a whole: the contract, and spectrograms that can be made again."""

import json
import re
from collections import Counter
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tensorflow_data_validation as tfdv

from components import features, spectrogram_codec
from components.conditions import CLEAN, CONDITIONS
from components.errors import SwarError
from components.settings import (
    AugmentationSettings,
    PairCounts,
    PairSettings,
    SpectrogramSettings,
    SpeechSettings,
)
from components.spectrogram_pair_gen import executor, recorded_sounds
from components.speech_example_gen import planning
from pipeline.local.beam import beam_arguments
from tests.bad_recordings import speech_like
from tests.support_executors import run_pairs, run_speech

SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "spectrogram_pair.pbtxt"
RATE = 16_000
WINDOW = SpectrogramSettings()
PAIRS = PairSettings(
    augmentation=AugmentationSettings(),
    train=PairCounts(similar_per_speaker=6, dissimilar=4),
    held_out=PairCounts(similar_per_speaker=2, dissimilar=3),
    condition=PairCounts(similar_per_speaker=1, dissimilar=2),
    train_speeds=(1.0,),
    train_balance="speakers",
    shard_megabytes=0.1,
)
NOISY = PAIRS.model_copy(update={"augmentation": AugmentationSettings(noise_probability=1.0)})
SPEECH = SpeechSettings(
    train_fraction=0.6,
    calibration_fraction=0.2,
    calibration_speaker_fraction=0.0,
    require_voice=False,
)
SPEAKERS = ("asha", "bina", "chandra", "dil", "ekta")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number, speaker in enumerate(SPEAKERS):
        (folder / speaker).mkdir()
        for take in range(2):
            soundfile.write(
                folder / speaker / f"{take}.wav", speech_like(10 * number + take, RATE, 25.0), RATE
            )
    return str(folder)


@pytest.fixture(scope="module")
def speech(recordings, tmp_path_factory):
    return run_speech(recordings, tmp_path_factory.mktemp("speech"), SPEECH)[0]


@pytest.fixture(scope="module")
def pairs(speech, tmp_path_factory):
    return run_pairs(speech, tmp_path_factory.mktemp("pairs"), RATE, WINDOW, PAIRS)


def files(pairs, split):
    return sorted(Path(pairs.uri, f"Split-{split}").glob("*"))


def rows(pairs, split):
    made = []
    dataset = tf.data.TFRecordDataset([str(path) for path in files(pairs, split)])
    for record in dataset.as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        made.append(
            {
                key: getattr(feature, feature.WhichOneof("kind")).value[0]
                for key, feature in example.features.feature.items()
            }
        )
    return made


def test_counts_follow_the_settings(pairs):
    counts = {
        split: Counter(row["label"] for row in rows(pairs, split)) for split in features.PAIR_SPLITS
    }
    assert counts == {
        "train": {1: 18, 0: 12},
        "calibration": {1: 6, 0: 9},
        "eval": {1: 6, 0: 9},
        "unseen": {1: 4, 0: 6},
        "eval_conditions": {1: 3 * 9, 0: 6 * 9},
        "unseen_conditions": {1: 2 * 9, 0: 4 * 9},
    }
    written = json.loads(pairs.get_string_custom_property("split_counts"))
    assert written == {split: sum(count.values()) for split, count in counts.items()}


def test_pairs_have_no_anomalies_against_the_schema(pairs):
    schema = tfdv.load_schema_text(str(SCHEMA))
    domains = {feature.name: tuple(feature.string_domain.value) for feature in schema.feature}
    assert domains[features.SPLIT] == features.PAIR_SPLITS
    assert domains[features.CONDITION] == (CLEAN, *CONDITIONS)
    for split in features.PAIR_SPLITS:
        paths = [str(path) for path in files(pairs, split)]
        dataset = tf.data.TFRecordDataset(paths)
        examples = [tf.train.Example.FromString(r) for r in dataset.as_numpy_iterator()]
        for example in examples:
            assert set(example.features.feature) == {feature.name for feature in schema.feature}


def test_labels_say_who_speaks_and_windows_of_a_speaker_do_not_overlap(pairs):
    for split in features.SPLITS:
        for row in rows(pairs, split):
            assert (row["speaker_a"] == row["speaker_b"]) == (row["label"] == 1)
            assert row["split"].decode() == split
            if row["label"] == 1:
                # Both recordings of an unseen speaker lie in the split: two are used.
                if split == "unseen":
                    assert row["recording_a"] != row["recording_b"]
                if row["recording_a"] == row["recording_b"]:
                    gap = abs(row["start_seconds_a"] - row["start_seconds_b"])
                    assert gap >= WINDOW.window_seconds - 1e-4


def test_spectrograms_are_those_of_the_placed_windows(speech, pairs):
    timelines: dict[bytes, dict[int, np.ndarray]] = {}
    for path in Path(speech.uri).rglob("data*"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            pcm16 = np.frombuffer(feature["pcm16"].bytes_list.value[0], "<i2")
            start = round(feature["start_seconds"].float_list.value[0] * RATE)
            timelines.setdefault(feature["recording"].bytes_list.value[0], {})[start] = pcm16
    checked = 0
    for row in rows(pairs, "eval")[:6]:
        for side in "ab":
            first = round(row[f"start_seconds_{side}"] * RATE)
            piece_start = max(s for s in timelines[row[f"recording_{side}"]] if s <= first)
            piece = timelines[row[f"recording_{side}"]][piece_start]
            offset = first - piece_start
            window = piece[offset : offset + WINDOW.window_samples(RATE)] / np.float32(32768)
            power = librosa.feature.melspectrogram(
                y=window, sr=RATE, n_fft=512, hop_length=256, n_mels=64
            )
            decibels = librosa.power_to_db(power, ref=np.max, top_db=80.0)
            ours = spectrogram_codec.decode(row[f"spectrogram_{side}"], WINDOW.n_mels)
            steps = np.abs(ours - (decibels + 80.0) * 255 / 80)
            assert np.max(steps[decibels > -75]) < 0.7  # half a step of rounding
            checked += 1
    assert checked == 12


@pytest.mark.parametrize("split", features.UNDER_CONDITIONS)
def test_a_pair_under_a_condition_is_a_clean_pair_with_another_second_side(pairs, split):
    assert {row["condition"] for row in rows(pairs, split)} == {b"clean"}
    clean = {row["pair_id"]: row for row in rows(pairs, split)}
    repeated: Counter[bytes] = Counter()
    for row in rows(pairs, features.UNDER_CONDITIONS[split]):
        pair_id, _, condition = row["pair_id"].partition(b"-")
        original = clean[pair_id]
        changed = {key for key in row if row[key] != original[key]}
        assert row["condition"] == condition
        expected = {"split", "condition", "pair_id", "spectrogram_b", "level_dbfs_b"}
        # A level falls out of a spectrogram, but for the grid of 16 bits.
        assert expected - changed <= ({"spectrogram_b"} if condition == b"quiet" else set())
        assert changed <= expected
        repeated[pair_id] += 1
        if condition == b"quiet":
            assert row["level_dbfs_b"] == pytest.approx(original["level_dbfs_b"] - 40.0, abs=0.1)
    assert set(repeated.values()) == {len(CONDITIONS)}


def test_without_conditions_the_clean_pairs_are_the_same_bytes(speech, pairs, tmp_path):
    none = PAIRS.model_copy(update={"condition": PairCounts(similar_per_speaker=0, dissimilar=0)})
    plain = run_pairs(speech, tmp_path, RATE, WINDOW, none)
    assert json.loads(plain.split_names) == json.loads(pairs.split_names)[:4]
    for split in features.SPLITS:
        for path in files(pairs, split):
            assert Path(plain.uri, path.relative_to(pairs.uri)).read_bytes() == path.read_bytes()
    assert not list(Path(plain.uri).glob("*conditions"))


def test_shards_are_bounded_and_ordered_by_identity(pairs):
    assert len(files(pairs, "train")) == 4  # 30 pairs of 12,288 bytes, 0.1 MB a file
    for path in files(pairs, "train"):
        dataset = tf.data.TFRecordDataset(str(path))
        identities = [
            tf.train.Example.FromString(record).features.feature["pair_id"].bytes_list.value[0]
            for record in dataset.as_numpy_iterator()
        ]
        assert identities == sorted(identities)


def test_every_ordered_pair_of_speakers(speech, tmp_path):
    settings = PAIRS.model_copy(update={"protocol": "every_ordered_pair", "windows": "random"})
    pairs = run_pairs(speech, tmp_path, RATE, WINDOW, settings)
    dissimilar = Counter(
        (row["speaker_a"], row["speaker_b"]) for row in rows(pairs, "train") if row["label"] == 0
    )
    assert len(dissimilar) == 3 * 2
    assert set(dissimilar.values()) == {4}


def test_the_same_speech_gives_the_same_bytes_and_another_seed_does_not(speech, pairs, tmp_path):
    again = run_pairs(speech, tmp_path / "again", RATE, WINDOW, PAIRS)
    reseeded = run_pairs(
        speech, tmp_path / "reseeded", RATE, WINDOW, PAIRS.model_copy(update={"seed": 1})
    )
    for path in files(pairs, "train") + files(pairs, "eval_conditions"):
        name = path.relative_to(pairs.uri)
        assert Path(again.uri, name).read_bytes() == path.read_bytes()
        assert Path(reseeded.uri, name).read_bytes() != path.read_bytes()


def test_every_speed_is_somebody_else_in_train_alone(speech, tmp_path):
    settings = PAIRS.model_copy(update={"train_speeds": (0.8, 1.0, 1.25)})
    fast = run_pairs(speech, tmp_path, RATE, WINDOW, settings)
    names = {row["speaker_a"].decode() for row in rows(fast, "train")}
    plain = {name for name in names if " at speed " not in name}
    assert plain < set(SPEAKERS)
    assert names == plain | {f"{name} at speed {s}" for name in plain for s in ("0.8", "1.25")}
    for split in ("calibration", "eval", "unseen"):
        assert {row["speaker_a"].decode() for row in rows(fast, split)} <= set(SPEAKERS)


def test_who_has_more_speech_has_more_pairs_to_train_on(tmp_path):
    settings = SpeechSettings(
        calibration_speaker_fraction=0.0, unseen_speaker_fraction=0.0, require_voice=False
    )
    for number, (speaker, seconds) in enumerate((("asha", 60.0), ("bina", 20.0))):
        (tmp_path / "recordings" / speaker).mkdir(parents=True)
        samples = speech_like(number, RATE, seconds)
        soundfile.write(tmp_path / "recordings" / speaker / "0.wav", samples, RATE)
    speech = run_speech(str(tmp_path / "recordings"), tmp_path / "speech", settings)[0]
    in_proportion = PAIRS.model_copy(update={"train_balance": "speech"})
    made = run_pairs(speech, tmp_path / "pairs", RATE, WINDOW, in_proportion)
    counted = Counter(row["speaker_a"].decode() for row in rows(made, "train") if row["label"] == 1)
    assert counted["asha"] + counted["bina"] == 2 * PAIRS.train.similar_per_speaker
    assert counted["asha"] == pytest.approx(3 * counted["bina"], abs=1)
    held_out = Counter(row["speaker_a"].decode() for row in rows(made, "eval") if row["label"] == 1)
    assert set(held_out.values()) == {PAIRS.held_out.similar_per_speaker}


def test_windows_to_train_on_may_be_longer(speech, tmp_path):
    longer = WINDOW.model_copy(update={"longest_train_window_seconds": 2.5})
    made = run_pairs(speech, tmp_path, RATE, longer, PAIRS)
    for split, frames in (("train", longer.of_train().frames(RATE)), ("eval", WINDOW.frames(RATE))):
        row = rows(made, split)[0]
        window = spectrogram_codec.decode(row["spectrogram_a"], WINDOW.n_mels)
        assert window.shape == (WINDOW.n_mels, frames)


def test_noise_is_heard_in_every_window_of_train_and_in_no_other(speech, pairs, tmp_path, caplog):
    caplog.set_level("INFO", "swar.progress")
    noisy = run_pairs(speech, tmp_path, RATE, WINDOW, NOISY)
    for split in features.PAIR_SPLITS[1:]:
        for path in files(pairs, split):
            name = path.relative_to(pairs.uri)
            assert Path(noisy.uri, name).read_bytes() == path.read_bytes()
    for plain, changed in zip(rows(pairs, "train"), rows(noisy, "train"), strict=True):
        for side in "ab":
            assert plain.pop(f"spectrogram_{side}") != changed.pop(f"spectrogram_{side}")
            assert plain.pop(f"level_dbfs_{side}") != changed.pop(f"level_dbfs_{side}")
        assert plain == changed
    assert "nobody to babble" not in caplog.text


def test_windows_that_nobody_babbles_behind_are_counted(recordings, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(planning, "SHARD_SECONDS", 1)  # a file for every recording
    alone = run_speech(recordings, tmp_path / "speech", SPEECH)[0]
    caplog.set_level("INFO", "swar.progress")
    run_pairs(alone, tmp_path / "pairs", RATE, WINDOW, NOISY)
    found = re.search(r"train/windows with nobody to babble: (\d+)", caplog.text)
    assert found
    assert 20 <= int(found[1]) <= 40  # half of 30 pairs' windows


@pytest.fixture(scope="module")
def in_rooms(tmp_path_factory):
    """PAIRS with recorded rooms and noises in every window."""
    folder = tmp_path_factory.mktemp("sounds")
    for kind in ("rooms", "noises"):
        (folder / kind).mkdir()
        for number in range(3):
            samples = 0.1 * np.random.default_rng(number).standard_normal(RATE)
            soundfile.write(folder / kind / f"{number}.wav", samples, RATE)
    augmentation = AugmentationSettings(
        reverberation_probability=1.0,
        reverberation_folder=str(folder / "rooms"),
        noise_probability=1.0,
        noise_folder=str(folder / "noises"),
    )
    return PAIRS.model_copy(update={"augmentation": augmentation})


@pytest.mark.slow
def test_recorded_sounds_are_in_windows_of_train_alone_the_same_for_two_workers(
    speech, pairs, in_rooms, tmp_path, caplog
):
    caplog.set_level("INFO", "swar.progress")
    one = run_pairs(speech, tmp_path / "one", RATE, WINDOW, in_rooms)
    assert "noises: 3 of 3 files, 600.0 s of each at most" in caplog.messages
    two = run_pairs(speech, tmp_path / "two", RATE, WINDOW, in_rooms, beam_arguments(2))
    for split in features.PAIR_SPLITS:
        for path in files(pairs, split):
            name = path.relative_to(pairs.uri)
            assert Path(one.uri, name).read_bytes() == Path(two.uri, name).read_bytes()
            same = Path(one.uri, name).read_bytes() == path.read_bytes()
            assert same == (split != features.TRAIN)


def test_recorded_sounds_that_changed_since_the_run_was_started_end_it(
    speech, in_rooms, tmp_path, monkeypatch
):
    monkeypatch.setattr(recorded_sounds.SoundFiles, "digest", iter(["then", "now"]).__next__)
    with pytest.raises(SwarError, match=r"/noises' is not as it was when the run was started"):
        run_pairs(speech, tmp_path, RATE, WINDOW, in_rooms)


def test_too_little_speech_for_a_pair_is_an_error_that_says_how_much_is_needed(tmp_path):
    for number, speaker in enumerate(SPEAKERS):
        (tmp_path / "data" / speaker).mkdir(parents=True)
        path = tmp_path / "data" / speaker / "only.wav"
        soundfile.write(path, speech_like(number, RATE, 9.0), RATE)
    settings = SPEECH.model_copy(update={"train_fraction": 0.5, "calibration_fraction": 0.4})
    (tmp_path / "speech").mkdir()
    speech = run_speech(str(tmp_path / "data"), tmp_path / "speech", settings)[0]
    (tmp_path / "pairs").mkdir()
    message = (
        r"no speaker has two windows of 1\.52 s in eval: about 30 s of speech a speaker are "
        r"needed, where the one with most has \d s: add speech, or lower speech\.train_fraction"
    )
    with pytest.raises(SwarError, match=message):
        run_pairs(speech, tmp_path / "pairs", RATE, WINDOW, PAIRS)


def test_the_speech_that_is_needed_and_that_is_there_do_not_look_equal():
    assert executor._distinct_texts(30.4, 9.0) == ["30", "9"]
    assert executor._distinct_texts(3.04, 2.9) == ["3.0", "2.9"]
    assert executor._distinct_texts(3.04, 3.02) == ["3.04", "3.02"]
