from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import SwarError
from components.settings import (
    EvaluatorSettings,
    PairCounts,
    PairSettings,
    SpectrogramSettings,
    SpeechSettings,
    TrainerSettings,
)
from pipeline.config import PACKAGED, Config, dump_yaml, load_config, parse_yaml


def message(tmp_path: Path, text: str, *overrides: str) -> str:
    """The error for a file of this text, without the folder's name."""
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SwarError) as raised:
        load_config(str(path), overrides)
    expected = str(raised.value)
    assert "\n" not in expected
    return expected.replace(f"{tmp_path}/", "")


def test_default_yaml_says_what_the_settings_say() -> None:
    assert load_config("default") == Config(name="swar")
    assert "warmup_steps: 20" in load_config("default").to_yaml()


def test_paper_yaml_follows_the_article() -> None:
    paper = load_config("paper")
    assert (paper.spectrogram.n_mels, paper.spectrogram.frames(22_050)) == (64, 216)
    speakers = 34
    pairs = speakers * (speakers - 1) * paper.pairs.train.dissimilar
    assert (speakers * paper.pairs.train.similar_per_speaker, pairs) == (3_400, 28_050)
    speech, trainer = paper.speech, paper.trainer
    assert (speech.sample_rate, speech.trim_head_seconds) == (22_050, 60.0)
    assert (speech.trim_tail_seconds, speech.silence_threshold_dbfs) == (60.0, -30.0)
    assert speech.train_fraction + speech.calibration_fraction == pytest.approx(0.8)
    assert trainer.blocks == (6, 12, 24, 16)
    assert (trainer.weights, trainer.head) == ("imagenet", "flatten")
    assert (trainer.loss, trainer.margin, trainer.pairs_per_batch) == ("listed", 3.0, 22)
    assert (trainer.epochs, trainer.learning_rate, trainer.warmup_steps) == (30, 1e-4, 100)
    assert trainer.batch_norm_momentum == 0.99, "Keras' own"
    # The article compares Euclidean distances, of one speed and nothing augmented.
    assert (trainer.normalisation_nearest, paper.pairs.train_speeds) == (0, (1.0,))


@pytest.mark.parametrize(
    ("setting", "refusal"),
    [
        ("tuner.learning_rate=[4e-4, 1e-3]", "must hold trainer.learning_rate 0.0003"),
        ("tuner.learning_rate=[1e-6, 1e-3]", "begins below trainer.end_learning_rate 1e-05"),
        ("tuner.temperature=[0.1, 0.1]", "tuner.temperature [0.1, 0.1] must rise"),
        ("tuner.starting_share=[0.0, 2.0]", "tuner.starting_share must lie between 0 and 1"),
    ],
)
def test_a_search_that_does_not_hold_the_settings_is_refused(setting: str, refusal: str) -> None:
    with pytest.raises(SwarError) as raised:
        load_config("default", ["tuner.trials=3", setting])
    assert refusal in str(raised.value)


def test_packaged_configs_have_their_own_names() -> None:
    assert len({load_config(name).name for name in PACKAGED}) == len(PACKAGED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: a\ntrainer: {epoch: 3}",
            'unknown setting "trainer.epoch" in x.yaml: did you mean "trainer.epochs"?',
        ),
        ("name: a\nlearning_rate: 1", 'did you mean "trainer.learning_rate"?'),
        ("name: a\nzzz: 1", 'unknown setting "zzz" in x.yaml'),
        ("name: a\nname: b", 'x.yaml, line 2: found duplicate key "name"'),
        ("name: a\npairs: {seed: 1, seed: 1}", 'x.yaml, line 2: found duplicate key "seed"'),
        ("{}", 'missing setting "name" in x.yaml'),
        ("name: Sw ar", 'wrong value "Sw ar" for "name" in x.yaml'),
        ("name: a\ntrainer: {epochs: 0}", 'wrong value 0 for "trainer.epochs" in x.yaml'),
        ("name: a\ntrainer: {epochs: true}", 'wrong value true for "trainer.epochs" in x.yaml'),
        ("name: a\ntrainer: {epochs: '6'}", 'wrong value "6" for "trainer.epochs" in x.yaml'),
        ("name: a\ntrainer: {margin: .nan}", 'wrong value NaN for "trainer.margin" in x.yaml'),
        ("name: a\ntrainer: {blocks: [6, 0]}", 'wrong value 0 for "trainer.blocks[1]" in x.yaml'),
        ("name: a\ntrainer: {head: flat}", "input should be 'pooled' or 'flatten'"),
        ("name: a\ntrainer: {head: flatten}", "set head to pooled"),
        (
            "name: a\nspectrogram: {longest_train_window_seconds: 1.0}",
            "longest_train_window_seconds 1 must not be below window_seconds 1.52",
        ),
        (
            "name: a\ntrainer: {head: flatten, loss: listed}\n"
            "spectrogram: {longest_train_window_seconds: 4.0}",
            "trainer.head flatten takes windows of one length",
        ),
        ("name: a\npairs: {train_speeds: [1.0, 1.0]}", "train_speeds names a speed twice"),
        ("name: a\ntrainer: 3", 'wrong value 3 for "trainer" in x.yaml'),
        ("name: a\nspeech: {seed: 2026-01-01x}", 'wrong value "2026-01-01x" for "speech.seed"'),
        ("- a", "x.yaml is not a YAML mapping of settings"),
        ("", "x.yaml is not a YAML mapping of settings"),
        ("name: [", "x.yaml, line 1: expected the node content"),
        ("name: &a b\nspeech: *a", "x.yaml, line 2: aliases are not read here"),
        ("name: a\n7: b", 'unknown setting "7" in x.yaml'),
        ("name: a\n? [7]\n: b", "wrong settings in x.yaml: keys must be str"),
        ("name: !!python/name:os.system x", "x.yaml, line 1: could not determine a constructor"),
        ("name: \x00", "x.yaml is not YAML"),
        ("name: !!int b", "x.yaml is not YAML: invalid literal for int()"),
        ("[" * 600 + "]" * 600, "x.yaml is not YAML: maximum recursion depth exceeded"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in message(tmp_path, text)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.epoch=3", 'unknown setting "trainer.epoch" in --set trainer.epoch=3: did you'),
        ("epochs=3", 'did you mean "trainer.epochs"?'),
        ("name.x=3", 'unknown setting "name.x" in --set name.x=3'),
        ("trainer=3", '--set trainer=3: "trainer" is a section, name one of its settings'),
        ("trainer.epochs", "--set trainer.epochs: expected KEY=VALUE"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("trainer.epochs=", 'wrong value null for "trainer.epochs" in --set trainer.epochs='),
        ("trainer.blocks=[6", "--set trainer.blocks=[6, line 1:"),
        ("trainer.blocks=[6,0]", '"trainer.blocks[1]" in --set trainer.blocks=[6,0]'),
        ("trainer.embedding_size=1", 'wrong value 1 for "trainer.embedding_size" in --set'),
        ("trainer.warmup_steps=-1", 'wrong value -1 for "trainer.warmup_steps" in --set'),
        ("trainer.seed=-1", 'wrong value -1 for "trainer.seed" in --set'),
        ("trainer.seed=4294967296", 'wrong value 4294967296 for "trainer.seed" in --set'),
        ("report.seed=-1", 'wrong value -1 for "report.seed" in --set'),
    ],
)
def test_a_wrong_override_is_told_in_one_line(tmp_path: Path, override: str, expected: str) -> None:
    assert expected in message(tmp_path, "name: a", "speech.seed=1", override)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["spectrogram.window_seconds=0.02"], "must be longer than spectrogram.n_fft 512"),
        (["spectrogram.hop_samples=513"], "spectrogram.hop_samples 513 skips samples"),
        (["spectrogram.n_mels=300"], "leaves mel bands without a frequency"),
        (["speech.max_piece_seconds=1"], "longer than speech.max_piece_seconds 1"),
        (["serving.max_seconds=1"], "longer than serving.max_seconds 1"),
        (["spectrogram.n_mels=31"], "need a spectrogram of at least 32 x 32"),
        (["trainer.weights=imagenet", "trainer.blocks=[1,1,1,1]"], "imagenet exist for"),
        (["trainer.time_mask_frames=96"], "can hide all 96 frames"),
        (["trainer.frequency_mask_mels=64"], "can hide all 64 mels"),
        (["trainer.end_learning_rate=1"], "is above trainer.learning_rate 0.0003"),
        (["trainer.steps_per_epoch=2", "trainer.epochs=10"], "must be below the 20 steps"),
        (["speech.train_fraction=0.0"], "leaves nothing to train on"),
        (["speech.calibration_speaker_fraction=0.0"], "one of them must be 0 and the other not"),
        (["speech.calibration_fraction=0.1"], "one of them must be 0 and the other not"),
        (["pairs.augmentation.noise_snr_db=[3, 2]"], "[3, 2] must not fall"),
        (["pairs.augmentation.tilt_db_per_octave=[1, -1]"], "[1, -1] must not fall"),
        (["pairs.augmentation.reverberation_seconds=[0, 1]"], "must be above 0"),
        (["pairs.augmentation.narrow_band_hertz=[0, 100]"], "must be above 0"),
        (
            ["pairs.augmentation.noise_folder=/noise"],
            "raise pairs.augmentation.noise_probability above 0",
        ),
        (
            [
                "pairs.augmentation.reverberation_folder=/rooms",
                "pairs.augmentation.reverberation_probability=0.0",
            ],
            "nothing is drawn from pairs.augmentation.reverberation_folder '/rooms'",
        ),
        (
            ["trainer.augmentation.noise_folder=/noise"],
            "trainer.augmentation.noise_folder must be null",
        ),
        (
            ["trainer.augmentation.reverberation_folder=/rooms"],
            "see pairs.augmentation.reverberation_folder",
        ),
        (
            ["trainer.augmentation.codec_probability=0.1"],
            "trainer.augmentation.codec_probability must be 0",
        ),
        (["pairs.condition.dissimilar=0"], "both or none must be 0"),
        (["trainer.head=flatten"], "loss supervised needs embeddings of length 1"),
        (["trainer.gpu_pairs_per_batch=1"], "loss supervised compares the pairs"),
        (["trainer.loss=listed"], "trainer.loss listed has nothing to push apart"),
        (["pairs.train.dissimilar=7"], "set pairs.train.dissimilar 7 to 0, or trainer.loss to"),
        (["pairs.train.similar_per_speaker=0"], "leaves nothing that belongs together"),
        (["speech.train_fraction=1.0"], "the rest is eval"),
    ],
)
def test_settings_that_contradict_each_other(
    tmp_path: Path, overrides: list[str], expected: str
) -> None:
    assert expected in message(tmp_path, "name: a", *overrides)


def test_overrides_are_read_as_yaml_and_the_last_one_wins() -> None:
    config = load_config(
        "demo",
        [
            "trainer.learning_rate=2e-3",
            "trainer.blocks=[1, 1, 1, 1]",
            "trainer.steps_per_epoch=null",
            "pairs.held_out.dissimilar=7",
            "trainer.epochs=9",
            "trainer.epochs=2",
            "trainer.weights=a=b.h5",
        ],
    )
    assert config.trainer.learning_rate == 0.002
    assert config.trainer.blocks == (1, 1, 1, 1)
    assert config.trainer.steps_per_epoch is None
    assert config.pairs.held_out.dissimilar == 7
    assert config.pairs.held_out.similar_per_speaker == (
        load_config("demo").pairs.held_out.similar_per_speaker
    )
    assert (config.trainer.epochs, config.trainer.weights) == (2, "a=b.h5")


def test_a_name_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SwarError, match=r'no config "papr": .* did you mean "paper"\?'):
        load_config("papr")
    with pytest.raises(SwarError, match=r"cannot read the config .*: Is a directory"):
        load_config(str(tmp_path))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(SwarError, match=r"binary\.yaml is not UTF-8 text"):
        load_config(str(tmp_path / "binary.yaml"))


SPEECH = st.builds(
    SpeechSettings,
    sample_rate=st.integers(8_000, 48_000),
    trim_head_seconds=st.floats(0, 1e6),
    silence_threshold_dbfs=st.floats(-200, -1e-6),
    min_silence_ms=st.integers(1, 10**12),
    train_fraction=st.floats(0.01, 0.5),
    calibration_speaker_fraction=st.floats(0.01, 0.4),
    seed=st.integers(),
)
TRAINER = st.builds(
    TrainerSettings,
    blocks=st.lists(st.integers(1, 64), min_size=1, max_size=4).map(tuple),
    weights=st.text(st.characters(exclude_categories=["Cs"])).filter(lambda s: s != "imagenet"),
    head=st.sampled_from(["pooled", "flatten"]),
    loss=st.just("listed"),
    steps_per_epoch=st.none() | st.integers(21, 10**9),
    learning_rate=st.floats(1e-4, 10.0),
    batch_norm_momentum=st.floats(0.0, 1.0, exclude_min=True, exclude_max=True),
)
COUNTS = st.builds(PairCounts, similar_per_speaker=st.integers(1), dissimilar=st.integers(1))
CONFIGS = st.builds(
    Config,
    name=st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True),
    speech=SPEECH,
    spectrogram=st.builds(SpectrogramSettings, top_db=st.floats(1e-9, 1e9)),
    pairs=st.builds(PairSettings, train=COUNTS, seed=st.integers()),
    trainer=TRAINER,
    evaluator=st.builds(EvaluatorSettings, max_eer_eval=st.floats(0.0, 1.0)),
)


@settings(max_examples=40)
@given(CONFIGS)
def test_a_config_survives_dict_and_yaml(tmp_path_factory: Any, config: Config) -> None:
    assert Config.model_validate(config.model_dump()) == config
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    again = load_config(str(path))
    assert again == config
    assert again.digest() == config.digest()


@pytest.mark.parametrize("width", range(4, 12))
def test_a_text_of_rare_letters_survives_yaml_however_long(width: int) -> None:
    tree = {"trainer": {"weights": "\U00013484" * width + " " + "\U0001d496" * width}}
    assert parse_yaml(dump_yaml(tree), "here") == tree


def test_how_a_model_is_judged_does_not_train_it_anew() -> None:
    config = load_config("default")
    judged = load_config(
        "default", ["report.resamples=9", "evaluator.max_eer_eval=0.2", "drift.max_outcome=1"]
    )
    assert judged.digest() != config.digest()
    assert judged.training_digest() == config.training_digest()
    trained = load_config("default", ["trainer.epochs=7"])
    assert trained.training_digest() != config.training_digest()


def test_the_digest_sees_each_setting_and_nothing_else() -> None:
    config = load_config("default")
    changed = load_config("default", ["evaluator.max_eer_eval=0.2"])
    same = load_config("default", ["evaluator.max_eer_eval=0.15", "trainer.decay_power=1"])
    assert config.digest() == same.digest() != changed.digest()
    assert len(config.digest()) == 64


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("010", 10),
        ("1:30", "1:30"),
        ("off", "off"),
        ("none", "none"),
        ("~", None),
        ("True", True),
        ("0x1f", 31),
        ("[1, a]", [1, "a"]),
    ],
)
def test_yaml_is_read_by_the_core_schema(text: str, value: Any) -> None:
    assert parse_yaml(text, "here") == value
    assert type(parse_yaml(text, "here")) is type(value)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.floats(allow_nan=False))
def test_yaml_scalars_survive(value: str | float) -> None:
    assert parse_yaml(dump_yaml({"key": value}), "here") == {"key": value}
