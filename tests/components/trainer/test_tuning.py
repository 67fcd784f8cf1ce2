"""The search: which values it tries, what it finds, and what the training makes of that."""

import json
from pathlib import Path

import pytest
from keras_tuner.errors import FatalError
from tfx.components.tuner import executor as tfx_executor

from components.model.files import MODEL_CARD
from components.settings import TrainerSettings, TunerSettings
from components.trainer import tuning
from components.trainer.run_fn import Job, run_fn
from components.trainer.tuning import OBJECTIVE, TrainingTuner, search_space, tuner_fn
from tests.components.trainer.test_run_fn import SMALL, arguments

SEARCH = TunerSettings(trials=7, epochs=1)


def job(folder: Path, trainer: TrainerSettings) -> Job:
    return Job.of(arguments(folder, trainer))


def distance_from_the_best(of: Job) -> list[dict[str, float | None]]:
    """A history whose lowest EER is 0 where the learning rate is 6e-4."""
    return [{OBJECTIVE: None}, {OBJECTIVE: abs(of.trainer.learning_rate - 6e-4)}, {OBJECTIVE: 1.0}]


def test_what_makes_no_difference_is_not_searched() -> None:
    def names(**settings):
        space = search_space(TrainerSettings(**settings), SEARCH)
        return {parameter.name: parameter.default for parameter in space.space}

    assert names() == {"learning_rate": 3e-4, "temperature": 0.05, "starting_share": 0.0}
    assert set(names(weights="none")) == {"learning_rate", "temperature"}
    assert set(names(loss="listed")) == {"learning_rate", "starting_share"}


def test_the_first_trial_has_the_settings_own_values_and_the_best_one_wins(tmp_path: Path) -> None:
    tried: list[float] = []

    def train_one(of: Job) -> list[dict[str, float | None]]:
        tried.append(of.trainer.learning_rate)
        return distance_from_the_best(of)

    own = SMALL.model_copy(update={"learning_rate": 2e-4})
    tuner = TrainingTuner(job(tmp_path, own), SEARCH, train_one)
    tuner.search(verbose=0)
    assert tried[0] == 2e-4 and len(tried) == len(set(tried)) == SEARCH.trials
    assert all(1e-4 <= rate <= 1e-3 for rate in tried)
    best = tuner.get_best_hyperparameters()[0].values["learning_rate"]
    assert best == min(tried, key=lambda rate: abs(rate - 6e-4))


def test_the_same_search_tries_the_same_values_and_a_killed_one_goes_on(tmp_path: Path) -> None:
    def search(folder: Path, stop_before: int | None = None) -> list[float]:
        tried: list[float] = []

        def train_one(of: Job) -> list[dict[str, float | None]]:
            if len(tried) == stop_before:
                raise KeyboardInterrupt
            tried.append(of.trainer.learning_rate)
            return distance_from_the_best(of)

        TrainingTuner(job(folder, SMALL), SEARCH, train_one).search(verbose=0)
        return tried

    for name in "ab":
        (tmp_path / name).mkdir()
    whole = search(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "b", stop_before=3)
    assert search(tmp_path / "b") == whole[3:]
    assert len(search(tmp_path / "b")) == 0, "a finished search has nothing left to try"


def test_a_trial_that_fails_ends_the_search_with_its_reason(tmp_path: Path) -> None:
    def fail(of: Job) -> list[dict[str, float | None]]:
        raise OSError("no space left")

    with pytest.raises(FatalError, match=r"^trial 0: no space left$") as raised:
        TrainingTuner(job(tmp_path, SMALL), SEARCH, fail).search(verbose=0)
    assert isinstance(raised.value.__cause__, OSError)


def test_the_training_takes_what_the_search_found(tmp_path: Path) -> None:
    fn_args = arguments(tmp_path, SMALL.model_copy(update={"epochs": 1}))
    fn_args.custom_config["tuner"] = TunerSettings(trials=2, epochs=1).model_dump_json()
    fn_args.model_run_dir, fn_args.working_dir = None, str(tmp_path / "work")
    result = tuner_fn(fn_args)
    result.tuner.search(**result.fit_kwargs)
    scores = [trial.score for trial in result.tuner.oracle.get_best_trials(2)]
    assert len(scores) == 2 and all(0.0 <= score <= 1.0 for score in scores)

    best = result.tuner.get_best_hyperparameters()[0]
    again = arguments(tmp_path, SMALL)
    # As TFX's Tuner writes them and its Trainer reads them.
    again.hyperparameters = json.loads(json.dumps(best.get_config()))
    run_fn(again)
    card = json.loads((tmp_path / "model" / MODEL_CARD).read_text())
    assert card["trainer"]["learning_rate"] == best.values["learning_rate"]
    assert card["trainer"]["temperature"] == best.values["temperature"]
    assert card["trainer"]["epochs"] == SMALL.epochs


def test_the_executor_leaves_the_best_values_and_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = TrainingTuner(job(tmp_path, SMALL), SEARCH, distance_from_the_best)
    tuner.search(verbose=0)
    written = []
    monkeypatch.setattr(tfx_executor, "search", lambda *_, **__: tuner)
    monkeypatch.setattr(
        tfx_executor, "write_best_hyperparameters", lambda of, _: written.append(of)
    )
    monkeypatch.setattr(tuning.Executor, "_get_tmp_dir", lambda _: str(tmp_path))
    tuning.Executor().Do({}, {}, {})
    assert written == [tuner]
    assert not Path(tuner.directory).exists()
