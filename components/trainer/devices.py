"""The devices that train: GPUs, or the processor where there is none."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import keras
import tensorflow as tf

from components.errors import SwarError
from components.settings import TrainerSettings

# Most steps that a GPU takes in one call from Python.
MOST_STEPS_AT_ONCE: Final = 16
PROCESSOR: Final = Path("/proc/cpuinfo")  # of Linux
# Instructions that multiply bfloat16: Intel's AMX, and AVX-512 (AMD since Zen 4, some Intel).
BFLOAT16_FEATURES: Final = frozenset({"amx_bf16", "avx512_bf16"})


def take_memory_as_needed() -> None:
    """Keeps TensorFlow from taking a GPU's whole memory with its first operation.

    Raises RuntimeError where an operation has run before.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def require_gpus(count: int) -> None:
    """Checks that TensorFlow sees the GPUs that were paid for; 0 requires none.

    Without this check TensorFlow would silently train on the processor.

    Raises:
        SwarError: TensorFlow sees fewer.
    """
    seen = len(tf.config.list_physical_devices("GPU"))
    if seen < count:
        raise SwarError(
            f"engine.training.gpus asks for {count} and TensorFlow sees {seen}: set "
            "engine.training.image to the image with CUDA (docs/container.md), see that the "
            "machine has NVIDIA's driver, or set engine.training.gpus to 0"
        )


def strategy() -> tf.distribute.Strategy:
    """Strategy in which several GPUs, or a processor's logical devices, share each step."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@contextlib.contextmanager
def precision(wanted: str) -> Iterator[None]:
    """Keras' dtype policy while the model is made and used; the caller's afterwards.

    Args:
        wanted: a policy's name, or `auto`, see `fastest_precision`.
    """
    if wanted == "auto":
        wanted = fastest_precision()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(wanted)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fastest_precision() -> str:
    """Keras' dtype policy for this machine.

    It is mixed_float16 on a GPU, mixed_bfloat16 on a processor with instructions for it (without
    them it is slower), else float32.
    """
    if tf.config.list_physical_devices("GPU"):
        return "mixed_float16"
    try:
        features = PROCESSOR.read_text("utf-8", "replace").split()
    except OSError:
        return "float32"
    return "float32" if BFLOAT16_FEATURES.isdisjoint(features) else "mixed_bfloat16"


def pairs_per_step(settings: TrainerSettings, replicas: int) -> int:
    """Pairs of windows that one training step takes, on all devices together."""
    on_gpus = tf.config.list_physical_devices("GPU")
    return (settings.gpu_pairs_per_batch if on_gpus else settings.pairs_per_batch) * replicas


def steps_at_once(steps_per_epoch: int) -> int:
    """Steps per call from Python: 1 on a processor; on a GPU a divisor of an epoch's steps."""
    if not tf.config.list_physical_devices("GPU"):
        return 1
    return max(n for n in range(1, MOST_STEPS_AT_ONCE + 1) if steps_per_epoch % n == 0)
