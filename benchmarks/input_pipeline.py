"""How many windows per second the training's input alone gives, from pairs on disk.

`python -m benchmarks.input_pipeline PAIRS [CONFIG]`: PAIRS is a pattern of files of training pairs,
`OUTPUT/artifacts/SpectrogramPairGen/pairs/*/Split-train/*` of a run; CONFIG how they were made.
"""

import sys
import time

from components.trainer import data
from pipeline.config import load_config

WARM_UP_BATCHES, BATCHES, ROUNDS = 200, 500, 3


def run(pairs: str, config_name: str) -> None:
    """Prints windows per second, round by round."""
    config = load_config(config_name)
    shape = data.TrainShape.of(config.spectrogram, config.speech.sample_rate)
    per_batch = config.trainer.pairs_per_batch
    batches = iter(data.training_batches([pairs], config.trainer, shape, per_batch))
    started = time.perf_counter()
    for _ in range(WARM_UP_BATCHES):
        next(batches)
    print(f"the first {WARM_UP_BATCHES} batches took {time.perf_counter() - started:.2f} s")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(BATCHES):
            next(batches)
        seconds = time.perf_counter() - started
        print(f"{BATCHES * 2 * per_batch / seconds:.0f} windows/s")


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "default")
