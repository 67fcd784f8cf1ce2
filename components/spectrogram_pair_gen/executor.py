"""Samples pairs of windows from cleaned speech and writes them, split by split.

Only names and positions travel between workers: each `speech` file is read where its windows
are cut, and each output file is assembled on its own. Finished windows are passed on through
temporary files, since a local Beam runner holds grouped values in memory, several times over.
"""

import hashlib
import json
import logging
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.utils.shared import Shared
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components import counters, features
from components.artifacts import SPLIT_COUNTS, ArtifactDict, split_files
from components.conditions import CONDITIONS
from components.errors import SwarError
from components.settings import PairCounts, PairSettings, SpectrogramSettings
from components.spectrogram_pair_gen import sampling
from components.spectrogram_pair_gen.recorded_sounds import RecordedSounds, SoundFiles
from components.spectrogram_pair_gen.sampling import (
    SplitSpeakers,
    TimelineSegment,
    TrainSpeaker,
    WindowPosition,
    WindowRequest,
)
from components.spectrogram_pair_gen.shards import (
    WindowRun,
    WriteShard,
    batches,
    pairs_per_shard,
    same_speaker,
    shard_of,
    write_runs,
)
from components.spectrogram_pair_gen.windows import Window, WindowCutter, segments
from components.speech_examples import read_examples, text

SplitSpeaker = tuple[str, str]
# Split, speaker, speed: a plain tuple, so that any runner can group by it.
SplitTrainSpeaker = tuple[str, str, float]
# What helps a split that has no same-speaker pair, by its name.
_REMEDIES: Final = {
    features.EVAL: "add speech, or lower speech.train_fraction, since eval is the rest of it",
    features.CALIBRATION: "add speech, or raise speech.calibration_speaker_fraction",
    features.UNSEEN: "add speech, or raise speech.unseen_speaker_fraction, or set it to 0",
}
progress = logging.getLogger("swar.progress")


def _segments(split_file: tuple[str, str]) -> Iterator[tuple[SplitSpeaker, TimelineSegment]]:
    split, file = split_file
    for speaker, segment in segments(file):
        yield (split, speaker), segment


def _timeline(
    item: tuple[SplitSpeaker, Iterable[TimelineSegment]],
    windows: Mapping[str, int],
    settings: PairSettings,
) -> Iterator[tuple[SplitTrainSpeaker, list[TimelineSegment]]]:
    """Sorts a speaker's segments, for each speed; drops and counts speeds without a window."""
    (split, speaker), found = item
    timeline = sorted(found)
    window = windows[split]
    speeds = settings.train_speeds if split == features.TRAIN else (sampling.NORMAL_SPEED,)
    for speed in speeds:
        if sampling.has_room(timeline, TrainSpeaker(speaker, speed).samples(window)):
            yield (split, speaker, speed), timeline
        else:
            counters.count(counters.PAIRS, f"{split}/speakers_too_short")


def _train_speaker(
    key: SplitTrainSpeaker, timeline: list[TimelineSegment]
) -> tuple[str, tuple[TrainSpeaker, int]]:
    split, speaker, speed = key
    return split, (TrainSpeaker(speaker, speed), sampling.speech_samples(timeline))


def _requests(
    item: tuple[SplitTrainSpeaker, list[TimelineSegment]],
    split_speakers: Mapping[str, SplitSpeakers],
    settings: PairSettings,
) -> Iterator[tuple[SplitTrainSpeaker, WindowRequest]]:
    (split, speaker, speed), timeline = item
    in_split = split_speakers[split]
    counts: PairCounts = settings.train if split == features.TRAIN else settings.held_out
    if split == features.TRAIN and settings.train_balance == "speech":
        counts = in_split.in_proportion(counts, sampling.speech_samples(timeline))
    train_speaker = TrainSpeaker(speaker, speed)
    for owner, request in sampling.requests(
        split, train_speaker, in_split.speakers, counts, settings
    ):
        yield (split, owner.speaker, owner.speed), request


def _place(
    item: tuple[SplitTrainSpeaker, Mapping[str, Iterable[Any]]],
    windows: Mapping[str, int],
    settings: PairSettings,
) -> Iterator[tuple[tuple[str, str], WindowPosition]]:
    (split, speaker, speed), joined = item
    train_speaker = TrainSpeaker(speaker, speed)
    window = train_speaker.samples(windows[split])
    (timeline,) = joined["timeline"]
    files = {(segment.recording, segment.piece): segment.file for segment in timeline}
    for request in joined["requests"]:
        positions = sampling.place(request, train_speaker, timeline, window, settings)
        if not positions:
            counters.count(counters.PAIRS, f"{split}/pairs_without_room")
        for position in positions:
            file = files[position.recording, position.piece]
            yield (split, file), position
            if request.is_repeated:
                for repeated in position.under_conditions():
                    yield (features.UNDER_CONDITIONS[split], file), repeated


def _splits_of_pair(item: tuple[SplitTrainSpeaker, WindowRequest]) -> Iterator[str]:
    (split, _, _), request = item
    yield split
    if request.is_repeated:
        yield from [features.UNDER_CONDITIONS[split]] * len(CONDITIONS)


class _Cut(beam.DoFn):
    """((split, speech file), positions) -> ((split, output shard), run of windows)."""

    def __init__(
        self,
        sample_rate: int,
        settings: SpectrogramSettings,
        pair_settings: PairSettings,
        sounds: SoundFiles,
        folder: str,
    ) -> None:
        self.sample_rate = sample_rate
        self.pair_settings = pair_settings
        self._sounds = sounds
        self._shared_by_threads = Shared()
        self._settings = settings
        self._folder = folder

    def window_of(self, split: str) -> SpectrogramSettings:
        """The settings of a split's windows; those of `train` may be longer."""
        return self._settings.of_train() if split == features.TRAIN else self._settings

    def setup(self) -> None:
        augmentation = self.pair_settings.augmentation
        seed = self.pair_settings.seed
        recorded = self._shared_by_threads.acquire(
            lambda: RecordedSounds.decoded(self._sounds, self.sample_rate)
        )
        self._cutter = WindowCutter(self.sample_rate, self._settings, seed=seed)
        self._train_cutter = WindowCutter(
            self.sample_rate,
            self._settings.of_train(),
            augmentation if augmentation.is_on else None,
            seed,
            recorded,
        )

    def process(
        self,
        item: tuple[tuple[str, str], Iterable[WindowPosition]],
        shards: Mapping[str, int],
    ) -> Iterator[tuple[tuple[str, int], WindowRun]]:
        (split, file), positions = item
        name = hashlib.sha256(f"{split}/{file}".encode()).hexdigest()
        cutter = self._train_cutter if split == features.TRAIN else self._cutter
        windows = cutter.cut(file, positions)
        for number, batch in enumerate(batches(windows)):
            by_shard: dict[int, list[Window]] = defaultdict(list)
            for window in batch:
                by_shard[shard_of(window.pair_id, shards[split])].append(window)
            path = os.path.join(self._folder, f"{name}-{number:05d}")
            for shard, run in write_runs(path, by_shard):
                yield (split, shard), run


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes `pairs`."""

    def Do(
        self, input_dict: ArtifactDict, output_dict: ArtifactDict, exec_properties: dict[str, Any]
    ) -> None:
        """Samples the pairs of every split of `speech` and writes their spectrograms.

        Raises:
            SwarError: the folders of recorded sounds have changed, one of the sounds is no audio,
                or a split has too little speech for a pair.
        """
        pair_settings = PairSettings.model_validate_json(exec_properties["pair_settings"])
        spectrogram_settings = SpectrogramSettings.model_validate_json(
            exec_properties["spectrogram_settings"]
        )
        sample_rate = exec_properties["sample_rate"]
        sounds = _sounds(pair_settings, exec_properties["sounds_digest"])
        speech = artifact_utils.get_single_instance(input_dict["speech"])
        pairs = artifact_utils.get_single_instance(output_dict["pairs"])
        speech_splits = artifact_utils.decode_split_names(speech.split_names)
        splits = [*speech_splits]
        if pair_settings.has_conditions:
            splits += [
                name for split, name in features.UNDER_CONDITIONS.items() if split in speech_splits
            ]
        pairs.split_names = artifact_utils.encode_split_names(splits)
        folders = {split: artifact_utils.get_split_uri([pairs], split) for split in splits}
        temporary = os.path.join(self._get_tmp_dir(), "windows")
        for folder in (*folders.values(), temporary):
            fileio.makedirs(folder)
        with self._make_beam_pipeline() as pipeline:
            files = split_files(speech)
            cut = _Cut(sample_rate, spectrogram_settings, pair_settings, sounds, temporary)
            _write_pairs(pipeline, files, folders, cut)
        fileio.rmtree(temporary)
        counted = counters.counters(pipeline.result, counters.PAIRS)
        targets = {split: counted.pop(same_speaker(split), 0) for split in splits}
        for split in speech_splits:
            wanted = pair_settings.train if split == features.TRAIN else pair_settings.held_out
            if wanted.similar_per_speaker and not targets[split]:
                window = cut.window_of(split).window_seconds
                raise _split_without_pairs(split, files, window)
        self._finish(pairs, splits, counted)

    def _finish(
        self, pairs: standard_artifacts.Examples, splits: Sequence[str], counted: Mapping[str, int]
    ) -> None:
        written = {split: counted.get(split, 0) for split in splits}
        pairs.set_string_custom_property(SPLIT_COUNTS, json.dumps(written, sort_keys=True))
        examples_utils.set_payload_format(pairs, example_gen_pb2.FORMAT_TF_EXAMPLE)
        progress.info("%s", ", ".join(f"{number} {split}" for split, number in written.items()))
        for name, times in sorted(counted.items()):
            if name not in written:
                progress.info("%s: %d", name.replace("_", " "), times)


def _sounds(settings: PairSettings, digest: str) -> SoundFiles:
    sounds = SoundFiles.listed(settings.augmentation)
    # As for the data: the sounds that are read must be those of the cache's key.
    if sounds.digest() != digest:
        folders = " or ".join(map(repr, settings.augmentation.folders.values()))
        raise SwarError(f"{folders} is not as it was when the run was started: start again")
    sounds.log_use()
    return sounds


def _split_without_pairs(
    split: str, files: Iterable[tuple[str, str]], window_seconds: float
) -> SwarError:
    """The error for a split in which no speaker has two windows to compare.

    Args:
        split: its name.
        files: (split, `speech` file) of all splits.
        window_seconds: length of the split's windows.
    """
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, file in files:
        for example in read_examples(file):
            duration = example.features.feature[features.DURATION_SECONDS].float_list.value[0]
            seconds[text(example, features.SPEAKER)][name] += duration
    own = [by_split for by_split in seconds.values() if split in by_split]
    share = sum(by_split[split] for by_split in own) / sum(sum(each.values()) for each in own)
    most = max(sum(by_split.values()) for by_split in own)
    needed, has = _distinct_texts(2.0 * window_seconds / share, most)
    return SwarError(
        f"no speaker has two windows of {window_seconds:g} s in {split}: about "
        f"{needed} s of speech a speaker are needed, where the one with most has {has} s: "
        f"{_REMEDIES.get(split, 'add speech')}"
    )


def _distinct_texts(*seconds: float) -> list[str]:
    """Seconds as text, with a decimal or two if they would look equal."""
    shown = ([f"{each:.{decimals}f}" for each in seconds] for decimals in range(2))
    return next((each for each in shown if len({*each}) > 1), [f"{each:.2f}" for each in seconds])


def _write_pairs(
    pipeline: beam.Pipeline,
    files: Sequence[tuple[str, str]],
    folders: Mapping[str, str],
    cut: _Cut,
) -> None:
    """Adds all steps, from `files` of speech to `folders` of pairs, both by split."""
    windows = {split: cut.window_of(split).window_samples(cut.sample_rate) for split in folders}
    timelines = (
        pipeline
        | "SpeechFiles" >> beam.Create(files)
        | "SpreadFiles" >> beam.Reshuffle()
        | "Segments" >> beam.FlatMap(_segments)
        | "BySpeaker" >> beam.GroupByKey()
        | "Timeline" >> beam.FlatMap(_timeline, windows, cut.pair_settings)
    )
    split_speakers = (
        timelines
        | "Speakers" >> beam.MapTuple(_train_speaker)
        | "SpeakersBySplit" >> beam.GroupByKey()
        | "SplitSpeakers"
        >> beam.MapTuple(lambda split, speakers: (split, SplitSpeakers.of(speakers)))
    )
    requests = timelines | "Requests" >> beam.FlatMap(
        _requests, beam.pvalue.AsDict(split_speakers), cut.pair_settings
    )
    shards = beam.pvalue.AsDict(_count_shards(requests, folders, cut))
    _ = (
        {"timeline": timelines, "requests": requests}
        | "Join" >> beam.CoGroupByKey()
        | "Place" >> beam.FlatMap(_place, windows, cut.pair_settings)
        | "ByFile" >> beam.GroupByKey()
        | "Cut" >> beam.ParDo(cut, shards)
        | "ByShard" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(WriteShard(folders), shards)
    )


def _count_shards(requests: beam.PCollection, splits: Iterable[str], cut: _Cut) -> beam.PCollection:
    """(split, number of its output files), from all requests."""
    megabytes = cut.pair_settings.shard_megabytes
    shard_pairs = {
        split: pairs_per_shard(cut.window_of(split), cut.sample_rate, megabytes) for split in splits
    }
    return (
        requests
        | "FirstSides" >> beam.Filter(lambda item: "a" in item[1].sides)
        | "SplitsOfPair" >> beam.FlatMap(_splits_of_pair)
        | "PairsOfSplit" >> beam.combiners.Count.PerElement()
        | "ShardsOfSplit"
        >> beam.MapTuple(lambda split, pairs: (split, math.ceil(pairs / shard_pairs[split])))
    )
