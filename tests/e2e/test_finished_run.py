"""What a run from sample speech to a published model leaves behind."""

import json
from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components import features, spectrogram_codec
from components.conditions import CONDITIONS
from components.model.files import MODEL_CARD
from pipeline.output.summary import RunSummary
from pipeline.pipeline import PAIR_SCHEMA
from tests.e2e.conftest import Run
from tests.e2e.support_runs import NODES, SPEAKERS, Store, records, split_files

pytestmark = pytest.mark.slow
Examples = dict[str, list[tf.train.Example]]


@pytest.fixture(scope="module")
def folders(finished: Run) -> dict[str, Path]:
    """Where each output artifact lies."""
    return {key: Path(item.uri) for key, item in Store(finished.output).outputs().items()}


@pytest.fixture(scope="module")
def speech(folders: dict[str, Path]) -> Examples:
    return {split: list(records(files)) for split, files in split_files(folders["speech"]).items()}


@pytest.fixture(scope="module")
def pairs(folders: dict[str, Path]) -> Examples:
    return {split: list(records(files)) for split, files in split_files(folders["pairs"]).items()}


def _schema(path: Path) -> dict[str, int]:
    """The type of each feature."""
    schema = text_format.Parse(path.read_text(), schema_pb2.Schema())
    return {feature.name: feature.type for feature in schema.feature}


def _types(example: tf.train.Example) -> dict[str, int]:
    kinds = {
        "bytes_list": schema_pb2.BYTES,
        "int64_list": schema_pb2.INT,
        "float_list": schema_pb2.FLOAT,
    }
    held = example.features.feature
    return {name: kinds[feature.WhichOneof("kind")] for name, feature in held.items()}


def _texts(examples: list[tf.train.Example], key: str) -> set[str]:
    return {example.features.feature[key].bytes_list.value[0].decode() for example in examples}


def _number(example: tf.train.Example, key: str) -> float:
    feature = example.features.feature[key]
    (value,) = feature.int64_list.value or feature.float_list.value
    return float(value)


def test_every_component_is_recorded_as_complete_once(finished: Run) -> None:
    assert Store(finished.output).executions() == Counter({(node, "COMPLETE"): 1 for node in NODES})
    assert finished.summary.states == dict.fromkeys(NODES, "done")


def test_every_output_is_recorded_and_lies_where_the_record_says(
    folders: dict[str, Path],
) -> None:
    assert set(folders) == {
        "speech", "rejects", "recordings", "pairs", "schema", "statistics", "anomalies", "model",
        "model_run", "infra_blessing", "evaluation", "blessing", "pushed_model", "report",
    }  # fmt: skip
    assert [key for key, folder in folders.items() if not any(folder.iterdir())] == []


def test_splits_are_named_and_counted(finished: Run, speech: Examples, pairs: Examples) -> None:
    outputs = Store(finished.output).outputs()
    for key, examples, splits in (
        ("speech", speech, features.SPLITS),
        ("pairs", pairs, features.PAIR_SPLITS),
    ):
        properties = outputs[key].properties, outputs[key].custom_properties
        assert set(json.loads(properties[0]["split_names"].string_value)) == set(splits)
        counts = {split: len(found) for split, found in examples.items()}
        assert json.loads(properties[1]["split_counts"].string_value) == counts
        assert set(counts) == set(splits)
    assert finished.summary.examples == {split: len(pairs[split]) for split in features.PAIR_SPLITS}


@pytest.mark.parametrize("name", ["speech", "pairs"])
def test_every_example_holds_the_features_of_its_schema(
    name: str, request: pytest.FixtureRequest
) -> None:
    path = PAIR_SCHEMA if name == "pairs" else PAIR_SCHEMA.with_name("speech.pbtxt")
    expected = _schema(path)
    for examples in request.getfixturevalue(name).values():
        assert {frozenset(_types(example).items()) for example in examples} == {
            frozenset(expected.items())
        }


def test_the_curated_schema_is_the_one_that_was_used(folders: dict[str, Path]) -> None:
    assert (folders["schema"] / "schema.pbtxt").read_bytes() == PAIR_SCHEMA.read_bytes()


def test_speech_is_of_the_rate_and_length_that_it_says(finished: Run, speech: Examples) -> None:
    rate = finished.config.speech.sample_rate
    for example in (example for found in speech.values() for example in found):
        pcm16 = example.features.feature[features.PCM16].bytes_list.value[0]
        assert _number(example, features.SAMPLE_RATE) == rate
        seconds = _number(example, features.DURATION_SECONDS)
        assert len(pcm16) == 2 * round(seconds * rate)


def test_unseen_speakers_are_in_no_other_split(speech: Examples, pairs: Examples) -> None:
    seen = _texts(speech["train"], "speaker")
    unseen = _texts(speech["unseen"], "speaker")
    assert len(seen) + len(unseen) == SPEAKERS
    assert len(unseen) == 2
    for split, speakers in {
        "train": seen,
        "calibration": seen,
        "eval": seen,
        "unseen": unseen,
    }.items():
        assert _texts(speech[split], "speaker") == speakers
        slower_and_faster = {f"{name} at speed {x}" for name in speakers for x in (0.9, 1.1)}
        named = speakers | slower_and_faster if split == "train" else speakers
        assert _texts(pairs[split], "speaker_a") == named
        assert _texts(pairs[split], "speaker_b") == named
        assert _texts(pairs[split], "split") == {split}


def test_no_window_lies_in_two_splits(finished: Run, pairs: Examples) -> None:
    window = finished.config.spectrogram.window_seconds
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for split in features.SPLITS:
        for side in features.SIDES:
            for example in pairs[split]:
                (recording,) = _texts([example], f"recording_{side}")
                (speaker,) = _texts([example], f"speaker_{side}")
                # "anna at speed 0.9": so much less of the recording fills a window.
                speed = float(speaker.partition(" at speed ")[2] or 1.0)
                start = _number(example, f"start_seconds_{side}")
                spans.setdefault((recording, split), []).append((start, start + window * speed))
    order = list(features.SPLITS)
    compared = 0
    for (recording, split), windows in spans.items():
        for later in order[order.index(split) + 1 :]:
            if (recording, later) in spans:
                compared += 1
                end = max(end for _, end in windows)
                assert end <= min(start for start, _ in spans[recording, later]) + 1e-4
    assert compared > 0


def test_pairs_are_whole_windows_of_the_kinds_that_are_read(finished: Run, pairs: Examples) -> None:
    settings = finished.config.spectrogram
    shape = settings.n_mels, settings.frames(finished.config.speech.sample_rate)
    for split, examples in pairs.items():
        # The default loss trains on pairs of one speaker.
        kinds = {1.0} if split == features.TRAIN else {0.0, 1.0}
        assert {_number(example, features.LABEL) for example in examples} == kinds
        identities = [_texts([example], features.PAIR_ID).pop() for example in examples]
        assert len(set(identities)) == len(examples)
        for example in examples:
            held = example.features.feature
            same = held["speaker_a"].bytes_list.value == held["speaker_b"].bytes_list.value
            assert same == bool(_number(example, features.LABEL))
            for side in features.SIDES:
                (spectrogram,) = held[f"spectrogram_{side}"].bytes_list.value
                pixels = spectrogram_codec.decode(spectrogram, settings.n_mels)
                assert (pixels.shape, pixels.max()) == (shape, 255)


def test_statistics_count_every_pair(folders: dict[str, Path], pairs: Examples) -> None:
    for split, (path,) in split_files(folders["statistics"]).items():
        (dataset,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            path.read_bytes()
        ).datasets
        assert dataset.num_examples == len(pairs[split])
        names = {feature.path.step[0] for feature in dataset.features}
        assert names == set(_schema(PAIR_SCHEMA))


def test_every_condition_is_measured_on_both_held_out_splits(finished: Run) -> None:
    measured = finished.summary.eer_by_condition
    assert {split: set(values) for split, values in measured.items()} == {
        "eval": set(CONDITIONS),
        "unseen": set(CONDITIONS),
    }
    values = [value for found in measured.values() for value in found.values()]
    assert all(value is not None and 0.0 <= value <= 1.0 for value in values)


def test_the_summary_is_on_disk(finished: Run) -> None:
    written = json.loads((finished.output / "summary.json").read_text())
    assert RunSummary(**written) == finished.summary
    assert (finished.summary.blessed, finished.summary.not_blessed_because) == (True, [])
    assert finished.summary.rejects == {}
    assert finished.summary.recordings == len(
        [path for path in finished.data.glob("*/*") if path.is_file()]
    )


def test_nothing_is_left_of_the_training_but_its_model(finished: Run) -> None:
    assert list((finished.output / "checkpoints").iterdir()) == []


def test_the_report_is_of_this_run(finished: Run, folders: dict[str, Path]) -> None:
    assert finished.summary.report == str(folders["report"] / "index.html")
    figures = json.loads((folders["report"] / "figures.json").read_text())
    card = json.loads((finished.published / MODEL_CARD).read_text())
    assert figures["model"]["model_digest"] == card["model_digest"]
    assert figures["data"]["recordings"] == finished.summary.recordings
    assert figures["blessed"] == finished.summary.blessed
    assert {row["check"]: row["found"] for row in figures["checks"]} == {
        "unseen_speakers": 0,
        "calibration_speakers": 0,
        "overlaps": 0,
        "same_audio": 0,
    }
