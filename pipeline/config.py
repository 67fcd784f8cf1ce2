"""One frozen, validated tree of the pipeline's settings, from YAML and `--set`."""

import difflib
import hashlib
import io
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from components.errors import SwarError
from components.settings import (
    DENSENET121_BLOCKS,
    SMALLEST_SIDE,
    EvaluatorSettings,
    PairSettings,
    ReportSettings,
    ServingSettings,
    Settings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
    TunerSettings,
)
from pipeline.engines.settings import EngineSettings
from pipeline.failures import one_line
from pipeline.models.drift_settings import DriftSettings

PACKAGED = ("demo", "default", "base", "paper")


class Config(Settings):
    """Everything that a run depends on, except its data and where it writes."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    """Name of the pipeline: lower case letters, digits and "-", for Vertex."""
    speech: SpeechSettings = SpeechSettings()
    spectrogram: SpectrogramSettings = SpectrogramSettings()
    pairs: PairSettings = PairSettings()
    trainer: TrainerSettings = TrainerSettings()
    tuner: TunerSettings = TunerSettings()
    serving: ServingSettings = ServingSettings()
    evaluator: EvaluatorSettings = EvaluatorSettings()
    report: ReportSettings = ReportSettings()
    engine: EngineSettings = EngineSettings()
    drift: DriftSettings = DriftSettings()

    @model_validator(mode="after")
    def _every_split_has_its_use(self) -> Self:
        speech = self.speech
        _refuse(speech.train_fraction == 0.0, "speech.train_fraction 0 leaves nothing to train on")
        _refuse(
            bool(speech.calibration_fraction) == bool(speech.calibration_speaker_fraction),
            f"speech.calibration_fraction {speech.calibration_fraction:g} and "
            f"speech.calibration_speaker_fraction {speech.calibration_speaker_fraction:g}: one of "
            "them must be 0 and the other not, the threshold is set on seen or on new speakers",
        )
        return self

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        rate = self.speech.sample_rate
        window, spectrogram = self.spectrogram.window_samples(rate), self.spectrogram
        _refuse(
            window <= spectrogram.n_fft,
            f"spectrogram.window_seconds {spectrogram.window_seconds:g} is {window} samples at "
            f"{rate} Hz, it must be longer than spectrogram.n_fft {spectrogram.n_fft}",
        )
        _refuse(
            spectrogram.hop_samples > spectrogram.n_fft,
            f"spectrogram.hop_samples {spectrogram.hop_samples} skips samples: "
            f"it must be at most spectrogram.n_fft {spectrogram.n_fft}",
        )
        _refuse(
            spectrogram.n_mels > spectrogram.n_fft // 2,
            f"spectrogram.n_mels {spectrogram.n_mels} leaves mel bands without a frequency: "
            f"it must be at most half of spectrogram.n_fft {spectrogram.n_fft}",
        )
        _refuse(
            spectrogram.window_seconds > self.speech.max_piece_seconds,
            f"spectrogram.window_seconds {spectrogram.window_seconds:g} is longer than "
            f"speech.max_piece_seconds {self.speech.max_piece_seconds:g}",
        )
        _refuse(
            spectrogram.window_seconds > self.serving.max_seconds,
            f"spectrogram.window_seconds {spectrogram.window_seconds:g} is longer than "
            f"serving.max_seconds {self.serving.max_seconds:g}",
        )
        return self

    @model_validator(mode="after")
    def _the_tower_fits_the_spectrogram(self) -> Self:
        trainer, mels = self.trainer, self.spectrogram.n_mels
        frames = self.spectrogram.frames(self.speech.sample_rate)
        # The stem halves each side twice, each transition between blocks once.
        smallest = max(SMALLEST_SIDE, 2 ** (1 + len(trainer.blocks)))
        _refuse(
            min(mels, frames) < smallest,
            f"trainer.blocks {list(trainer.blocks)} need a spectrogram of at least "
            f"{smallest} x {smallest}, the settings give {mels} mels x {frames} frames",
        )
        _refuse(
            trainer.weights == "imagenet" and trainer.blocks != DENSENET121_BLOCKS,
            f"trainer.weights imagenet exist for trainer.blocks {list(DENSENET121_BLOCKS)} only",
        )
        _refuse(
            trainer.head == "flatten" and self.spectrogram.longest_train_window_seconds is not None,
            "trainer.head flatten takes windows of one length: set it to pooled, or "
            "spectrogram.longest_train_window_seconds to null",
        )
        _refuse(
            trainer.time_mask_frames >= frames,
            f"trainer.time_mask_frames {trainer.time_mask_frames} can hide all {frames} frames",
        )
        _refuse(
            trainer.frequency_mask_mels >= mels,
            f"trainer.frequency_mask_mels {trainer.frequency_mask_mels} can hide all {mels} mels",
        )
        return self

    @model_validator(mode="after")
    def _the_loss_reads_every_pair(self) -> Self:
        loss, dissimilar = self.trainer.loss, self.pairs.train.dissimilar
        _refuse(
            self.pairs.train.similar_per_speaker == 0,
            "pairs.train.similar_per_speaker 0 leaves nothing that belongs together",
        )
        _refuse(
            self.trainer.reads_dissimilar and dissimilar == 0,
            f"trainer.loss {loss} has nothing to push apart: raise pairs.train.dissimilar",
        )
        _refuse(
            not self.trainer.reads_dissimilar and dissimilar > 0,
            f"trainer.loss {loss} reads pairs of one speaker alone: set pairs.train.dissimilar "
            f"{dissimilar} to 0, or trainer.loss to listed",
        )
        return self

    @model_validator(mode="after")
    def _the_schedule_fits(self) -> Self:
        trainer = self.trainer
        _refuse(
            trainer.end_learning_rate > trainer.learning_rate,
            f"trainer.end_learning_rate {trainer.end_learning_rate:g} is above "
            f"trainer.learning_rate {trainer.learning_rate:g}",
        )
        steps = trainer.epochs * trainer.steps_per_epoch if trainer.steps_per_epoch else None
        _refuse(
            steps is not None and trainer.warmup_steps >= steps,
            f"trainer.warmup_steps {trainer.warmup_steps} must be below the {steps} steps "
            "of trainer.epochs x trainer.steps_per_epoch",
        )
        return self

    @model_validator(mode="after")
    def _the_search_holds_the_settings(self) -> Self:
        if not self.tuner.trials:
            return self
        for name in self.tuner.searched(self.trainer):
            (low, high), own = getattr(self.tuner, name), getattr(self.trainer, name)
            _refuse(
                not low <= own <= high,
                f"tuner.{name} [{low:g}, {high:g}] must hold trainer.{name} {own:g}, which the "
                "first trial has",
            )
        _refuse(
            self.tuner.learning_rate[0] < self.trainer.end_learning_rate,
            f"tuner.learning_rate begins below trainer.end_learning_rate "
            f"{self.trainer.end_learning_rate:g}",
        )
        return self

    def digest(self) -> str:
        """sha256 of the canonical JSON of the tree, in hexadecimal."""
        return _digest(self.model_dump(mode="json"))

    def training_digest(self) -> str:
        """Like `digest`, without the settings that do not change how a model is trained."""
        judged_and_where = {"evaluator", "report", "engine", "drift"}
        return _digest(self.model_dump(mode="json", exclude=judged_and_where))

    def to_yaml(self) -> str:
        """The tree as YAML; `load_config` reads an equal Config from it."""
        return dump_yaml(self.model_dump(mode="json"))


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """Loads a config by its packaged name (`demo`, `default`, `base`, `paper`) or from a YAML file.

    Each override is `a.b=value`, its value read as YAML. Settings that a file leaves out have
    their defaults. Raises SwarError with one line that names the key, its value and where it was
    set.
    """
    text, where = _read(name_or_path)
    tree = parse_yaml(text, where)
    if not isinstance(tree, dict):
        raise SwarError(f"{where} is not a YAML mapping of settings")
    config = _validate(tree, lambda key: where)
    if not overrides:
        return config
    tree = config.model_dump(mode="json")
    sources = dict(_override(tree, override) for override in overrides)
    return _validate(tree, lambda key: _source(key, sources))


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML 1.2 document, where `1e-3` is a number and `off` a word.

    Args:
        text: the document.
        where: its name in messages.

    Raises:
        SwarError: the text is not YAML, or it repeats a key or has an alias.
    """
    try:
        # A few lines of nested aliases can become gigabytes of JSON.
        for event in _yaml().parse(text):
            if isinstance(event, AliasEvent):
                line = event.start_mark.line + 1
                raise SwarError(f"{where}, line {line}: aliases are not read here")
        return _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise SwarError(f"{where}{line}: {one_line(str(error.problem))}") from error
    except (YAMLError, ValueError, RecursionError) as error:  # !!int x, and [[[[...
        raise SwarError(f"{where} is not YAML: {one_line(str(error))}") from error


def dump_yaml(tree: dict[str, Any]) -> str:
    """The YAML of a tree, keys in their order; `parse_yaml` reads it back."""
    text = io.StringIO()
    _yaml().dump(tree, text)
    return text.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 2**31  # a folded line of escapes is not read back as it was
    yaml.allow_unicode = False  # else some Unicode line breaks are not escaped
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None
    return yaml


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise ValueError(why)


def _digest(tree: dict[str, Any]) -> str:
    canonical = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _read(name_or_path: str) -> tuple[str, str]:
    """The text of a config, and its name in messages."""
    if name_or_path in PACKAGED:
        resource = resources.files("pipeline") / "configs" / f"{name_or_path}.yaml"
        return resource.read_text("utf-8"), f"the packaged {name_or_path}.yaml"
    try:
        return Path(name_or_path).read_text("utf-8"), name_or_path
    except FileNotFoundError:
        near = difflib.get_close_matches(name_or_path, PACKAGED, n=1)
        hint = f': did you mean "{near[0]}"?' if near else ""
        raise SwarError(
            f'no config "{name_or_path}": neither a file nor one of {", ".join(PACKAGED)}{hint}'
        ) from None
    except UnicodeDecodeError:
        raise SwarError(f"{name_or_path} is not UTF-8 text") from None
    except OSError as error:
        raise SwarError(f"cannot read the config {name_or_path}: {error.strerror}") from error


def _override(tree: dict[str, Any], override: str) -> tuple[str, str]:
    """Puts one `a.b=value` into the tree. Returns its key and its name in messages."""
    key, equals, text = override.partition("=")
    source = f"--set {override}"
    if not equals or not all(key.split(".")):
        raise SwarError(f"{source}: expected KEY=VALUE, for example trainer.epochs=3")
    *sections, last = key.split(".")
    branch: Any = tree
    for section in sections:
        branch = branch.get(section) if isinstance(branch, dict) else None
    if not isinstance(branch, dict) or last not in branch:
        raise SwarError(_unknown(key, source))
    if isinstance(branch[last], dict):
        raise SwarError(f'{source}: "{key}" is a section, name one of its settings')
    branch[last] = parse_yaml(text, source)
    return key, source


def _source(key: str, sources: dict[str, str]) -> str:
    """Which `--set` gave a key its value; all of them where no single one did."""
    for given, source in sources.items():
        if key == given or key.startswith((f"{given}.", f"{given}[")):
            return source
    return " ".join(sources.values())


def _validate(tree: dict[str, Any], source: Callable[[str], str]) -> Config:
    # Strict, through JSON: "6" and true are not counts, but a list can be a tuple.
    try:
        return Config.model_validate_json(json.dumps(tree, default=str), strict=True)
    except TypeError as error:  # from JSON: in YAML a list can be a key
        raise SwarError(f"wrong settings in {source('')}: {error}") from error
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    key = key.lstrip(".")
    more = f" (and {len(others)} more)" if others else ""
    raise SwarError(_explain(first, key, source(key)) + more)


def _explain(error: Any, key: str, where: str) -> str:
    value = textwrap.shorten(json.dumps(error["input"], default=str), 60)
    match error["type"]:
        case "extra_forbidden":
            return _unknown(key, where)
        case "missing":
            return f'missing setting "{key}" in {where}'
        case "value_error":
            return f"wrong settings in {where}: {error['ctx']['error']}"
        case _:
            reason = error["msg"][0].lower() + error["msg"][1:]
            return f'wrong value {value} for "{key}" in {where}: {reason}'


def _unknown(key: str, where: str) -> str:
    known = list(_keys(Config))
    last = key.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, known, n=1)
    hint = f': did you mean "{near[0]}"?' if near else ""
    return f'unknown setting "{key}" in {where}{hint}'


def _keys(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted name of each section and setting."""
    for name, field in settings.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
