"""Two passes over the recordings: the first measures them, the second writes pieces by split.

The second pass needs each speaker's total. Decoding twice keeps every worker's memory
bounded, since no audio waits in a shuffle.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.components.example_gen.utils import SPAN_PROPERTY_NAME
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components import counters, features, frontend
from components.artifacts import RECORDINGS_FILE, REJECTS_FILE, SPANS, SPLIT_COUNTS, ArtifactDict
from components.block_detection import BLOCK_SECONDS
from components.errors import SwarError
from components.recordings.acoustics import AcousticStatistics, acoustics_of
from components.recordings.cleaning import (
    CleanedRecording,
    Cleaner,
    UnusableRecording,
)
from components.recordings.sources import (
    Listing,
    Recording,
    Reject,
    data_digest,
    list_recordings,
)
from components.recordings.splitting import Piece
from components.settings import SpeechSettings
from components.speech_example_gen import planning

REJECTS_SHOWN = 10
progress = logging.getLogger("swar.progress")


class _Summarise(beam.DoFn):
    """Recording -> a row of JSON: its usable speech, or why it has none."""

    def __init__(self, settings: SpeechSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._cleaner = Cleaner(self._settings)

    def process(self, recording: Recording) -> Iterator[str]:
        row: dict[str, Any] = {"recording": asdict(recording)}
        try:
            with self._cleaner.clean(recording) as cleaned:
                row["speech_samples"] = cleaned.speech_samples
                row["digest"] = cleaned.digest(BLOCK_SECONDS * self._settings.sample_rate)
                row["acoustics"] = asdict(acoustics_of(cleaned, self._settings.sample_rate))
        except UnusableRecording as error:
            reject = Reject(recording.recording, error.reason, error.seconds, str(error))
            row["reject"] = asdict(reject)
        yield json.dumps(row)


class _WriteShard(beam.DoFn):
    """(index, recordings) -> one file for each split, counted by split."""

    def __init__(self, settings: SpeechSettings, folder: str, shards: int) -> None:
        self._settings = settings
        self._folder = folder
        self._shards = shards

    def setup(self) -> None:
        self._cleaner = Cleaner(self._settings)

    def process(self, shard: tuple[int, Sequence[planning.RecordingPlan]]) -> None:
        index, work = shard
        with ExitStack() as files:
            writers = {
                split: files.enter_context(tf.io.TFRecordWriter(self._path(split, index)))
                for split in {piece.split for item in work for piece in item.pieces}
            }
            for item in work:
                for split, example in self._examples(item):
                    writers[split].write(example.SerializeToString(deterministic=True))
                    counters.count(counters.SPEECH, split)

    def _examples(self, item: planning.RecordingPlan) -> Iterator[tuple[str, tf.train.Example]]:
        changed = f"{item.recording.recording!r} changed while the run read it: start again"
        try:
            with self._cleaner.clean(item.recording) as cleaned:
                if cleaned.speech_samples != item.pieces[-1].end:
                    raise SwarError(changed)
                for piece in item.pieces:
                    yield piece.split, _example(item.recording, cleaned, piece, self._settings)
        except UnusableRecording as error:
            raise SwarError(changed) from error

    def _path(self, split: str, index: int) -> str:
        folder = artifact_utils.get_split_uri([_examples_at(self._folder)], split)
        fileio.makedirs(folder)
        return os.path.join(folder, f"data_tfrecord-{index:05d}-of-{self._shards:05d}")


def _examples_at(uri: str) -> types.standard_artifacts.Examples:
    examples = types.standard_artifacts.Examples()
    examples.uri = uri
    examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    return examples


def _example(
    recording: Recording, cleaned: CleanedRecording, piece: Piece, settings: SpeechSettings
) -> tf.train.Example:
    pcm16 = cleaned.read(piece.start, piece.end)
    rate = settings.sample_rate
    values: dict[str, bytes | int | float] = {
        features.PCM16: pcm16.astype("<i2").tobytes(),
        features.SAMPLE_RATE: rate,
        features.SPEAKER: recording.speaker.encode(),
        features.GENDER: recording.gender.encode(),
        features.RECORDING: recording.recording.encode(),
        features.PIECE: piece.index,
        features.START_SECONDS: piece.start / rate,
        features.DURATION_SECONDS: (piece.end - piece.start) / rate,
        features.KEPT_FRACTION: cleaned.kept_fraction,
        features.CHANNEL: cleaned.channel.encode(),
        features.LEVEL_DBFS: frontend.rms_dbfs(pcm16),
    }
    return features.example(values)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes `speech`, `rejects` and `recordings`."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Cleans the recordings of `data` and writes them split by split.

        Raises:
            SwarError: the input cannot be used; the message names the fault and the remedy.
        """
        settings = SpeechSettings.model_validate_json(exec_properties["settings"])
        data = exec_properties["data"]
        listing = list_recordings(
            data,
            settings.rolling_spans,
            follow_outside_links=settings.follow_outside_links,
        )
        # The digest names the data in caches and models, and must be that of the data read.
        if data_digest(listing) != exec_properties["data_digest"]:
            raise SwarError(f"{data!r} is not as it was when the run was started: start again")
        for remark in listing.remarks:
            progress.warning("%s", remark)
        summaries, unusable = self._summarise(listing.recordings, settings)
        summaries, duplicates = planning.without_duplicates(summaries)
        silent = planning.without_speech(summaries, listing.speakers)
        rejects = sorted(
            [*listing.rejects, *unusable, *duplicates, *silent], key=lambda reject: reject.file
        )
        rejects_uri = artifact_utils.get_single_uri(output_dict["rejects"])
        _write_rows(rejects_uri, REJECTS_FILE, map(asdict, rejects))
        _show(rejects, os.path.join(rejects_uri, REJECTS_FILE))
        planning.check_rejects(rejects, listing.recordings, listing.speakers, settings)
        work = planning.plan(summaries, listing.speakers, settings)
        recordings_uri = artifact_utils.get_single_uri(output_dict["recordings"])
        rows = planning.rows(summaries, work, settings.sample_rate)
        _write_rows(recordings_uri, RECORDINGS_FILE, rows)
        speech = artifact_utils.get_single_instance(output_dict["speech"])
        counts = self._write(work, speech.uri, settings)
        speech.split_names = artifact_utils.encode_split_names(sorted(counts))
        speech.set_string_custom_property(SPLIT_COUNTS, json.dumps(counts, sort_keys=True))
        _name_spans(speech, listing)
        examples_utils.set_payload_format(speech, example_gen_pb2.FORMAT_TF_EXAMPLE)
        progress.info(
            "%d recordings of %d speakers, %s",
            len(summaries),
            len(listing.speakers) - len(silent),
            planning.reasons(rejects),
        )

    def _summarise(
        self, recordings: Sequence[Recording], settings: SpeechSettings
    ) -> tuple[list[planning.RecordingSummary], list[Reject]]:
        rows = os.path.join(self._get_tmp_dir(), "summaries")
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Recordings" >> beam.Create(recordings)
                | "Spread" >> beam.Reshuffle()
                | "Summarise" >> beam.ParDo(_Summarise(settings))
                | "Rows" >> beam.io.WriteToText(rows)
            )
        summaries, rejects = [], []
        for path in sorted(fileio.glob(f"{rows}-*")):
            with fileio.open(path) as lines:
                for line in lines:
                    row = json.loads(line)
                    if "reject" in row:
                        rejects.append(Reject(**row["reject"]))
                    else:
                        recording = Recording(**row["recording"])
                        acoustics = AcousticStatistics(**row["acoustics"])
                        summaries.append(
                            planning.RecordingSummary(
                                recording, row["speech_samples"], row["digest"], acoustics
                            )
                        )
        return summaries, rejects

    def _write(
        self, work: Sequence[planning.RecordingPlan], uri: str, settings: SpeechSettings
    ) -> dict[str, int]:
        shards = planning.shards(work, settings.sample_rate)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(list(enumerate(shards)))
                | "Spread" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(_WriteShard(settings, uri, len(shards)))
            )
        return counters.counters(pipeline.result, counters.SPEECH)


def _write_rows(uri: str, name: str, rows: Iterable[dict[str, Any]]) -> None:
    fileio.makedirs(uri)
    with fileio.open(os.path.join(uri, name), "w") as file:
        file.write("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


def _show(rejects: Sequence[Reject], path: str) -> None:
    for reject in rejects[:REJECTS_SHOWN]:
        progress.info("rejected %r: %s, %s", reject.file, reject.reason, reject.detail)
    if len(rejects) > REJECTS_SHOWN:
        progress.info("and %d more rejects, all in %s", len(rejects) - REJECTS_SHOWN, path)


def _name_spans(speech: types.Artifact, listing: Listing) -> None:
    """Names the newest span as TFX's ExampleGen does, and all of them."""
    if listing.spans:
        speech.set_int_custom_property(SPAN_PROPERTY_NAME, listing.spans[-1].number)
        names = [span.name for span in listing.spans]
        speech.set_string_custom_property(SPANS, json.dumps(names))
