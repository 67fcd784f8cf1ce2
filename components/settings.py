"""The settings of each component: frozen, validated, without side effects.

A component receives its part of the tree as canonical JSON in an exec property,
so that changing one setting reruns exactly what depends on it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Folder = Annotated[str, Field(min_length=1)]
GeneratorSeed = Annotated[int, Field(ge=0, lt=2**32)]
"""Seed of NumPy's and Keras' generators; a seed that keys a hash may be any number."""
SMALLEST_SIDE: Final = 32
"""Least number of mels, and of frames, of a window that the tower takes."""
DENSENET121_BLOCKS: Final = (6, 12, 24, 16)
"""The tower's blocks that fit ImageNet weights."""


class Settings(BaseModel):
    """Base of all settings: immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SpeechSettings(Settings):
    """How recordings are cleaned, and how speakers and speech are split."""

    sample_rate: Annotated[int, Field(ge=4_000, le=192_000)] = 16_000
    trim_head_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    trim_tail_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    silence_rule: Literal["adaptive", "article"] = "adaptive"
    """adaptive: level and threshold follow the recording's own speech and background, after a
    high-pass below the voice. article: the peak is full scale and the threshold fixed."""
    silence_threshold_dbfs: Annotated[float, Field(lt=0.0)] = -30.0
    """RMS at or below which a slice is silent, the peak being 0 dBFS; for silence_rule article."""
    min_silence_ms: PositiveCount = 400
    keep_silence_ms: Count = 80
    """Silence that is kept on both sides of speech."""
    min_speech_seconds: Positive = 0.3
    """Least speech of a recording; less than a window is repeated to fill one."""
    max_recording_seconds: Positive = 14_400.0
    """Longest recording, or cut of one, in seconds: a longer one is rejected as too_long. Bounds
    the temporary files of a worker: 10 bytes a sample, 2.3 GB at 16 kHz."""
    max_recording_megabytes: Positive = 4_096.0
    """Largest file of a recording, in 10^6 bytes: a larger one is rejected as too_large, and of a
    remote one no more is copied."""
    follow_outside_links: bool = False
    """Whether links in the data folder that lead out of it are followed, not rejected."""
    require_voice: bool = True
    """Whether recordings without a voice (noise, tones, music) are refused as no_speech."""
    max_piece_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = 60.0
    train_fraction: Fraction = 0.8
    """Share of `train` in the speech of a speaker who is not held out."""
    calibration_fraction: Fraction = 0.0
    """Share of `calibration` in the speech of a speaker who is not held out."""
    calibration_speaker_fraction: Fraction = 0.1
    """Share of speakers held out to set the threshold: new speakers lie nearer to each other
    than those that the tower was trained on."""
    unseen_speaker_fraction: Fraction = 0.2
    max_reject_fraction: Fraction = 0.1
    rolling_spans: PositiveCount | None = None
    """Number of newest spans to use, if `data` is a pattern of spans; None for all."""
    seed: int = 0

    @model_validator(mode="after")
    def _splits_leave_room_for_eval(self) -> Self:
        if self.train_fraction + self.calibration_fraction >= 1.0:
            raise ValueError(
                "train_fraction + calibration_fraction must be below 1, the rest is eval"
            )
        return self

    def untrimmed(self) -> Self:
        """The settings without trimming of the recordings' edges."""
        return self.model_copy(update={"trim_head_seconds": 0.0, "trim_tail_seconds": 0.0})


class SpectrogramSettings(Settings):
    """The log-mel window that the tower sees (librosa's conventions, centred frames)."""

    window_seconds: Positive = 1.52
    n_fft: PositiveCount = 512
    hop_samples: PositiveCount = 256
    n_mels: PositiveCount = 64
    top_db: Positive = 80.0

    longest_train_window_seconds: Positive | None = None
    """Length of windows of `train`; every batch is cut to a length drawn between `window_seconds`
    and this one. None: `window_seconds`."""

    @model_validator(mode="after")
    def _train_windows_are_no_shorter(self) -> Self:
        longest = self.longest_train_window_seconds
        if longest is not None and longest < self.window_seconds:
            raise ValueError(
                f"longest_train_window_seconds {longest:g} must not be below window_seconds "
                f"{self.window_seconds:g}"
            )
        return self

    def of_train(self) -> "SpectrogramSettings":
        """The settings of the windows that are stored for `train`."""
        longest = self.longest_train_window_seconds or self.window_seconds
        return self.model_copy(update={"window_seconds": longest})

    def window_samples(self, sample_rate: int) -> int:
        """Samples in one window."""
        return round(self.window_seconds * sample_rate)

    def frames(self, sample_rate: int) -> int:
        """Frames of one window: centred frames, so one more than whole hops."""
        return 1 + self.window_samples(sample_rate) // self.hop_samples


class PairCounts(Settings):
    """Numbers of trials of one split."""

    similar_per_speaker: Count
    dissimilar: Count
    """Per speaker or per ordered pair of speakers, depending on the protocol."""


Range = tuple[float, float]


class AugmentationSettings(Settings):
    """Changes to windows of `train`, each with its own probability; by default none."""

    reverberation_probability: Fraction = 0.0
    reverberation_seconds: Range = (0.1, 0.6)
    """Time in which a simulated room's response falls by 60 dB."""
    reverberation_folder: Folder | None = None
    """Folder, with its subfolders, of recorded impulse responses that replace simulated rooms, on
    any filesystem that Beam knows. For waveforms only. At most 900 files are read, evenly spread
    over the sorted names, each up to 2 s from its direct sound on."""
    noise_probability: Fraction = 0.0
    """Adds other speakers' babble or, half of the time, coloured noise."""
    noise_folder: Folder | None = None
    """Folder, with its subfolders, of recorded noise that replaces coloured noise, on any
    filesystem that Beam knows. For waveforms only. At most 900 files are read, evenly spread over
    the sorted names, half an hour in all: the first 1,800 s / n of each of n files."""
    noise_snr_db: Range = (0.0, 20.0)
    hum_probability: Fraction = 0.0
    """Adds mains hum of 50 or 60 Hz."""
    hum_snr_db: Range = (5.0, 25.0)
    tilt_probability: Fraction = 0.0
    """Simulates another microphone: a spectral slope and a smooth curve of gains."""
    tilt_db_per_octave: Range = (-6.0, 6.0)
    narrow_band_probability: Fraction = 0.0
    narrow_band_hertz: Range = (3_000.0, 7_000.0)
    """Cut-off of a low-pass filter."""
    telephone_probability: Fraction = 0.0
    """A telephone line: 300 to 3,400 Hz at 8 kHz, mu-law."""
    codec_probability: Fraction = 0.0
    """MP3 or Opus, at the bit rates of voice messages."""

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in (
            "reverberation_seconds",
            "noise_snr_db",
            "hum_snr_db",
            "tilt_db_per_octave",
            "narrow_band_hertz",
        ):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"augmentation.{name} [{low:g}, {high:g}] must not fall")
        for name in ("reverberation_seconds", "narrow_band_hertz"):
            if getattr(self, name)[0] <= 0.0:
                raise ValueError(f"augmentation.{name} must be above 0")
        return self

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of each change by name, in the order of application."""
        changes = ("reverberation", "noise", "hum", "tilt", "narrow_band", "telephone", "codec")
        return {name: getattr(self, f"{name}_probability") for name in changes}

    @property
    def is_on(self) -> bool:
        """Whether any change can happen."""
        return any(self.probabilities.values())

    @property
    def folders(self) -> dict[str, str]:
        """Folders of recorded sounds, by the change that draws from them."""
        named = {"reverberation": self.reverberation_folder, "noise": self.noise_folder}
        return {name: folder for name, folder in named.items() if folder is not None}


# A model that is trained without other rooms and lines is at chance in them.
ROOMS = AugmentationSettings(reverberation_probability=0.3)
"""Changes that suit a waveform better than a spectrogram."""
LINES_AND_NOISE = AugmentationSettings(
    noise_probability=0.5,
    hum_probability=0.1,
    tilt_probability=0.3,
    narrow_band_probability=0.2,
    telephone_probability=0.2,
)
"""Changes that are drawn anew for every batch."""


class PairSettings(Settings):
    """Which windows are compared with which."""

    protocol: Literal["per_speaker", "every_ordered_pair"] = "per_speaker"
    windows: Literal["disjoint", "random"] = "disjoint"
    """disjoint: a similar pair's windows never overlap, and are of two recordings if possible."""
    train: PairCounts = PairCounts(similar_per_speaker=100, dissimilar=0)
    """Trials that the loss reads; only `trainer.loss` listed reads dissimilar pairs."""
    held_out: PairCounts = PairCounts(similar_per_speaker=25, dissimilar=25)
    train_balance: Literal["speakers", "speech"] = "speech"
    """speakers: the same number of pairs for every speaker of `train`. speech: in proportion to the
    speaker's speech, with the counts as mean."""
    train_speeds: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.9, 1.0, 1.1)
    """Every speaker of `train` is played at these speeds, pitch and all, as different speakers."""
    condition: PairCounts = PairCounts(similar_per_speaker=5, dissimilar=5)
    """Pairs of `eval` and `unseen` that are repeated under each condition; 0 for none."""
    condition_speakers: PositiveCount = 200
    """The most speakers of a split whose pairs are repeated, evenly spread over their names."""
    augmentation: AugmentationSettings = ROOMS
    """Changes to the waveforms of windows of `train`, drawn once for each."""
    shard_megabytes: Positive = 64.0
    seed: int = 0

    @model_validator(mode="after")
    def _each_speed_once(self) -> Self:
        if len(set(self.train_speeds)) < len(self.train_speeds):
            raise ValueError("train_speeds names a speed twice")
        return self

    @model_validator(mode="after")
    def _folders_are_drawn_from(self) -> Self:
        for name, folder in self.augmentation.folders.items():
            if self.augmentation.probabilities[name] == 0.0:
                raise ValueError(
                    f"nothing is drawn from pairs.augmentation.{name}_folder {folder!r}: raise "
                    f"pairs.augmentation.{name}_probability above 0"
                )
        return self

    @model_validator(mode="after")
    def _conditions_have_both_kinds_of_pairs(self) -> Self:
        if bool(self.condition.similar_per_speaker) != bool(self.condition.dissimilar):
            raise ValueError(
                "condition.similar_per_speaker and condition.dissimilar: both or none must be 0, "
                "an error rate is of both kinds of pairs"
            )
        return self

    @property
    def has_conditions(self) -> bool:
        """Whether held-out pairs are repeated under conditions."""
        return self.condition.similar_per_speaker > 0


class TrainerSettings(Settings):
    """The tower, its loss and its schedule."""

    blocks: tuple[PositiveCount, ...] = DENSENET121_BLOCKS
    """Convolutions in each dense block; (6, 12, 24, 16) is DenseNet121."""
    weights: str = "base"
    """What to start from: `base` (the released base model), `imagenet` (downloaded by Keras, the
    backbone only), `none` (random), a published model's folder, or a Keras weights file of a
    tower or of its backbone."""
    starting_share: Fraction = 0.0
    """Share of the starting weights in their mean with the trained ones, which is monitored and
    published; 0 is the trained ones alone. Keeps what the starting model knows beyond the new
    training data. Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022."""
    head: Literal["pooled", "flatten"] = "pooled"
    """pooled: the mean over the feature map. flatten: the feature map itself, as in the article."""
    embedding_size: Annotated[int, Field(ge=2)] = 256
    """Dimension of embeddings. With head pooled their length is 1: one dimension has only two."""
    loss: Literal["supervised", "listed"] = "supervised"
    """supervised: supervised contrastive loss, all pairs within a speaker-balanced batch.
    listed: the article's contrastive loss, over the pairs as sampled."""
    temperature: Positive = 0.05
    """Softmax temperature of the supervised loss."""
    margin: Positive = 1.2
    """Margin of the listed loss."""
    pairs_per_batch: PositiveCount = 32
    """Pairs of windows in a training step on a processor."""
    gpu_pairs_per_batch: PositiveCount = 128
    """Pairs of windows in a training step on each GPU."""
    epochs: PositiveCount = 9
    steps_per_epoch: PositiveCount | None = None
    """None: an epoch has every pair once."""
    learning_rate: Positive = 3e-4
    """Highest rate, for steps of `pairs_per_batch` pairs. Steps of k times as many, on GPUs,
    multiply it and `end_learning_rate` by sqrt(k)."""
    end_learning_rate: Annotated[float, Field(ge=0.0)] = 1e-5
    decay_power: Positive = 1.0
    warmup_steps: Count = 20
    batch_norm_momentum: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    calibration_nearest_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """The threshold is set to separate each speaker from this share of others, the nearest, at
    least one. Any threshold separates speakers of another sex or on another line."""
    normalisation_nearest: Annotated[int, Field(ge=0)] = 20
    """Adaptive score normalisation (AS-norm): a distance is relative to both utterances'
    distances from this many nearest speakers of `train`, or all if fewer; 0 for none."""
    normalisation_made_speakers: Annotated[int, Field(ge=3)] | None = None
    """Number of synthetic speakers, drawn around means of clusters of `train`'s, that replace these
    in the normalisation, so that the model holds no speaker's own embedding; None keeps those."""
    augmentation: AugmentationSettings = LINES_AND_NOISE
    """Changes to the spectrograms, drawn anew for every batch, on the device. Without codecs and
    recorded noise or rooms, which work on samples."""
    teacher: str | None = None
    """NumPy .npz file of another encoder's embeddings of the recordings of `train`, which the tower
    also learns: `embedding` float [N, embedding_size], `speaker` and `recording` string [N]."""
    teacher_weight: Annotated[float, Field(gt=0.0)] = 1.0
    """Weight of the cosine distance from the teacher, beside the loss."""
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    """Precision of training; the served model uses float32. auto: mixed_float16 on a GPU,
    mixed_bfloat16 on a processor with AMX or AVX-512 BF16, else float32."""
    monitor_windows: Annotated[int, Field(ge=4)] = 400
    """Windows of each of `train` and `eval` to compare, all with all, after an epoch."""
    selection_windows: Annotated[int, Field(ge=4)] = 1_200
    """Windows of `calibration` to compare after an epoch; that with the lowest EER is kept."""
    time_mask_frames: Count = 0
    frequency_mask_mels: Count = 0
    seed: GeneratorSeed = 0

    @model_validator(mode="after")
    def _starting_weights_are_worth_keeping(self) -> Self:
        if self.starting_share and self.weights in ("none", "imagenet"):
            raise ValueError(
                f"starting_share {self.starting_share:g} would keep weights that know no speakers: "
                f"set it to 0, or weights to another than {self.weights}"
            )
        return self

    @model_validator(mode="after")
    def _spectrograms_are_augmented(self) -> Self:
        if self.augmentation.codec_probability > 0.0:
            raise ValueError(
                "trainer.augmentation.codec_probability must be 0: a codec works on samples, see "
                "pairs.augmentation.codec_probability"
            )
        for name in self.augmentation.folders:
            raise ValueError(
                f"trainer.augmentation.{name}_folder must be null: recorded sounds are added to "
                f"samples, see pairs.augmentation.{name}_folder"
            )
        return self

    @model_validator(mode="after")
    def _supervised_compares_directions(self) -> Self:
        if self.loss == "supervised" and not self.unit_norm:
            raise ValueError("loss supervised needs embeddings of length 1: set head to pooled")
        return self

    @model_validator(mode="after")
    def _some_losses_compare_pairs(self) -> Self:
        if not self.reads_dissimilar and min(self.pairs_per_batch, self.gpu_pairs_per_batch) < 2:
            raise ValueError(
                f"loss {self.loss} compares the pairs of a batch with each other: set "
                "pairs_per_batch and gpu_pairs_per_batch to 2 or more"
            )
        return self

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """The settings with some values replaced. Raises ValueError for an invalid one."""
        return type(self).model_validate(self.model_dump() | dict(values))

    @classmethod
    def known(cls, values: Mapping[str, Any]) -> Self:
        """The settings of a model's card that another version of the code wrote.

        Settings that no longer exist are left out: the rest describes the tower.
        """
        return cls.model_validate({name: values[name] for name in cls.model_fields.keys() & values})

    @property
    def reads_dissimilar(self) -> bool:
        """Whether training reads pairs of two speakers; otherwise it compares different pairs."""
        return self.loss == "listed"

    @property
    def unit_norm(self) -> bool:
        """Whether embeddings have length 1."""
        return self.head != "flatten"


class TunerSettings(Settings):
    """A search for some settings of the training before it: KerasTuner in TFX's Tuner."""

    trials: Count = 0
    """Short trainings to compare, the first with the trainer's own values; 0 searches nothing."""
    epochs: PositiveCount = 3
    """Epochs of a trial."""
    learning_rate: Range = (1e-4, 1e-3)
    """Drawn on a logarithmic scale."""
    temperature: Range = (0.03, 0.15)
    """Drawn on a logarithmic scale; searched if the loss reads it."""
    starting_share: Range = (0.0, 0.5)
    """Searched if the training starts from weights that know speakers."""

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in ("learning_rate", "temperature", "starting_share"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"tuner.{name} [{low:g}, {high:g}] must rise")
        if min(self.learning_rate[0], self.temperature[0]) <= 0.0:
            raise ValueError("tuner.learning_rate and tuner.temperature must be above 0")
        if self.starting_share[0] < 0.0 or self.starting_share[1] > 1.0:
            raise ValueError("tuner.starting_share must lie between 0 and 1")
        return self

    def searched(self, trainer: TrainerSettings) -> tuple[str, ...]:
        """The names of the searched settings that affect this training."""
        names = ["learning_rate"]
        if trainer.loss == "supervised":
            names.append("temperature")
        if trainer.weights not in ("none", "imagenet"):
            names.append("starting_share")
        return tuple(names)


class ServingSettings(Settings):
    """Limits of the served model; part of the model, so a change trains it anew."""

    max_seconds: Positive = 120.0
    """Longer recordings are refused, which bounds the memory of a request."""
    max_windows: PositiveCount = 64
    """Most windows of one recording; those of a longer one are spread over it."""


class EvaluatorSettings(Settings):
    """What a model must reach to be blessed."""

    max_eer_eval: Fraction = 0.15
    max_eer_unseen: Fraction = 0.2
    """EER of single windows of speakers who are in no training: twice the base model's of 3 s on
    the hardest of its test sets. `max_eer_increase_over_base` is the closer bound."""
    max_eer_condition: Fraction = 0.4
    """EER on `eval` under each of `components.conditions`; chance is 0.5."""
    max_eer_increase: Fraction = 0.01
    """Largest rise of the EER of `eval` over the last blessed model's, absolute."""
    max_eer_increase_over_base: Fraction = 0.02
    """For a model trained from the base model: largest rise of its EER over the base model's on
    the same pairs, on `unseen` and under each condition, absolute; a rise within the base model's
    95 % interval does not count."""


class ReportSettings(Settings):
    """How much speech the report evaluates the model on."""

    duration_seconds: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.5, 3.0, 5.0, 10.0)
    """Speech in an utterance; the model's window where that is longer."""
    detail_seconds: Positive = 3.0
    """Curves, maps and pairs are shown for the duration nearest to it that has trials."""
    enrolment_seconds: tuple[Positive, ...] = (5.0, 10.0, 30.0)
    """Speech to identify speakers by, rounded up to whole utterances."""
    utterances_per_speaker: Annotated[int, Field(ge=2)] = 10
    """Utterances of each duration."""
    trials_per_class: PositiveCount = 10_000
    """Same- and different-speaker trials of each split and duration."""
    resamples: PositiveCount = 500
    """Resamples of the speakers for the 95 % intervals."""
    condition_utterances: Count = 60
    """Utterances of each split under every condition: noise, lines, codecs, rooms; 0 for none."""
    map_utterances: Annotated[int, Field(ge=4)] = 300
    """Utterances on the map of embeddings."""
    worst_pairs: Count = 4
    """Pairs shown for each kind of error."""
    sound: bool = True
    """Whether the worst pairs can be played. The page then holds pieces of the recordings."""
    article: bool = False
    """Whether the original article's results are shown beside the model's."""
    seed: GeneratorSeed = 0
