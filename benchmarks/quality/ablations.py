"""What each ingredient of the training gives: one changed setting per run, at equal compute.

`python -m benchmarks.quality.ablations FOLDER OUTPUT STEPS SEED...`: trains on
`FOLDER/tuning/train.csv` (see `manifests`), judges by the speakers of `FOLDER/tuning/unseen/`, and
prints a table. Finished runs are recorded in `OUTPUT/runs.jsonl` and not repeated.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SWAR: Final = str(Path(sys.executable).with_name("swar"))
SECONDS: Final = "3"
RUNS: Final = "runs.jsonl"
STEPS_PER_EPOCH: Final = 50
# One model of all sets: few pairs of each of many speakers.
COMMON: Final = {
    "trainer.weights": "none",
    "trainer.learning_rate": "0.001",
    "speech.unseen_speaker_fraction": "0",
    "pairs.train.similar_per_speaker": "30",
    "pairs.held_out.similar_per_speaker": "10",
    "pairs.held_out.dissimilar": "5",
    "report.utterances_per_speaker": "2",
    "report.resamples": "10",
}
REVERBERATION: Final = "pairs.augmentation.reverberation_probability"
NOISE: Final = "trainer.augmentation.noise_probability"
TELEPHONE: Final = "trainer.augmentation.telephone_probability"


@dataclass(frozen=True)
class Variant:
    """A configuration with some changed settings."""

    name: str
    changed: Mapping[str, str] = field(default_factory=dict)
    config: str = "default"
    step_cost: float = 1.0
    """Cost relative to a step of 64 windows of 1.52 s: dearer steps mean fewer of them."""


VARIANTS: Final = (
    Variant("default"),
    Variant("reverberation", {REVERBERATION: "0.5"}),
    Variant("no noise", {NOISE: "0.0"}),
    Variant(
        "article's recipe",
        {
            # Recordings of seconds have no minutes to cut off and no 8 % to set a threshold on, and
            # of so many speakers one pair of every two is enough. Random weights, a short warm-up
            # and statistics that a hundred steps can learn are what the other rows have.
            "speech.trim_head_seconds": "0",
            "speech.trim_tail_seconds": "0",
            "speech.train_fraction": "0.8",
            "speech.calibration_fraction": "0",
            "speech.calibration_speaker_fraction": "0.1",
            "pairs.train.similar_per_speaker": "20",
            "pairs.train.dissimilar": "1",
            "pairs.held_out.dissimilar": "1",
            "trainer.warmup_steps": "20",
            "trainer.batch_norm_momentum": "0.9",
        },
        config="paper",
        step_cost=(44 * 216) / (64 * 96),
    ),
    Variant(
        "windows of 1.5 to 4 s",
        {"spectrogram.longest_train_window_seconds": "4.0"},
        step_cost=(1.52 + 4.0) / 2 / 1.52,
    ),
    Variant("SpecAugment", {"trainer.time_mask_frames": "20", "trainer.frequency_mask_mels": "10"}),
    Variant("learning rate x 2", {"trainer.learning_rate": "0.002"}),
    Variant("16 pairs a step", {"trainer.pairs_per_batch": "16"}, step_cost=0.5),
    Variant("temperature 0.1", {"trainer.temperature": "0.1"}),
    Variant("learning rate / 2", {"trainer.learning_rate": "0.0005"}),
    Variant("no AS-norm", {"trainer.normalisation_nearest": "0"}),
    Variant("no telephone", {TELEPHONE: "0.0"}),
    Variant("every speaker alike", {"pairs.train_balance": "speakers"}),
    Variant("one speed", {"pairs.train_speeds": "[1.0]"}),
)


def command(variant: Variant, folder: Path, output: Path, steps: int, seed: int) -> list[str]:
    """The command `swar run` of a variant."""
    affordable = steps / variant.step_cost
    epochs = max(1, round(affordable / STEPS_PER_EPOCH))
    settings = {
        **COMMON,
        "trainer.epochs": str(epochs),
        "trainer.steps_per_epoch": str(round(affordable / epochs)),
        "trainer.seed": str(seed),
        **variant.changed,
    }
    return [
        *(SWAR, "run", "--config", variant.config, "--data", str(folder / "tuning" / "train.csv")),
        *("--output", str(output), "--beam-workers", "2"),
        *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
    ]


def judge(folder: Path, output: Path) -> dict[str, Any]:
    """The EER with its interval of each set of unseen speakers."""
    models = (output / "artifacts" / "Trainer" / "model").iterdir()
    model = max(models, key=lambda one: int(one.name)) / "Format-Serving"
    sets = sorted((folder / "tuning" / "unseen").glob("*.csv"))
    asked = [part for one in sets for part in ("--data", str(one))]
    told = subprocess.run(
        [SWAR, "evaluate", str(model), *asked, "--duration", SECONDS, "--json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {
        one["set"]: one["figures"]["eer"]
        for one in json.loads(told)["slices"]
        if one["sliced_by"] == "all"
    }


def done(output: Path) -> Iterator[dict[str, Any]]:
    """The finished runs."""
    path = output / RUNS
    if path.exists():
        yield from map(json.loads, path.read_text("utf-8").splitlines())


def run(folder: Path, output: Path, steps: int, seeds: list[int]) -> None:
    """Trains and judges what is not done yet, and prints all."""
    output.mkdir(parents=True, exist_ok=True)
    finished = {(row["variant"], row["steps"], row["seed"]) for row in done(output)}
    for seed in seeds:
        for variant in VARIANTS:
            if (variant.name, steps, seed) in finished:
                continue
            # A model that is not blessed, exit status 1, is judged like the others.
            status = subprocess.run(
                command(variant, folder, output / "run", steps, seed), check=False
            ).returncode
            if status > 1:
                raise SystemExit(status)
            row = {"variant": variant.name, "steps": steps, "seed": seed}
            row["sets"] = judge(folder, output / "run")
            with (output / RUNS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(told(row), flush=True)
    for row in done(output):
        print(told(row))


def told(row: Mapping[str, Any]) -> str:
    """A line of the table: EER in per cent, a column for each set, ordered by name."""
    cells = [
        f"{100 * eer['value']:.1f} ({100 * eer['low']:.1f}-{100 * eer['high']:.1f})"
        for _, eer in sorted(row["sets"].items())
    ]
    return f"| {row['variant']} | {row['seed']} | {' | '.join(cells)} |"


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), [int(one) for one in sys.argv[4:]])
