"""What trains: GPUs, or the processor where there is none."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


def take_memory_as_needed() -> None:
    """Keeps TensorFlow from taking a GPU's whole memory with its first operation.

    Raises RuntimeError where an operation has run before.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def strategy() -> tf.distribute.Strategy:
    """Several GPUs share each step; so do the parts of a processor that was divided."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@contextlib.contextmanager
def precision(wanted: str) -> Iterator[None]:
    """Keras' dtype policy while the model is made and used; the caller's afterwards.

    Args:
        wanted: a policy's name, or `auto`: mixed_float16 on a GPU, else float32. Under
            mixed_float16 Keras scales the loss when it compiles the model.
    """
    if wanted == "auto":
        wanted = "mixed_float16" if tf.config.list_physical_devices("GPU") else "float32"
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(wanted)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def quick_graphs() -> Iterator[None]:
    """Without Grappler where there is no GPU: it gains nothing and costs most of a first step."""
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(before)
