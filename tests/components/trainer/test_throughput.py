"""What a training says of its speed."""

import logging
import sys
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer import throughput
from components.trainer.throughput import CardUse, InputClock, Throughput

STEPS, WINDOWS = 5, 8
SLOW_SECONDS = 0.1


def batches(seconds):
    """Endless ones, each of which takes so long to make."""

    def make(number):
        time.sleep(seconds)
        return np.full((WINDOWS, 3), number, np.float32)

    def batch(number):
        inputs = tf.ensure_shape(tf.numpy_function(make, [number], tf.float32), (WINDOWS, 3))
        return inputs, tf.ones((WINDOWS, 1))

    return tf.data.Dataset.counter().map(batch)


def trained(seconds, epochs=2):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    clock = InputClock()
    measured = Throughput(WINDOWS, clock, epochs)
    model.fit(
        clock.watch(batches(seconds)),
        epochs=epochs,
        steps_per_epoch=STEPS,
        callbacks=[measured],
        verbose=0,
    )
    return measured


def test_a_clock_counts_the_waiting_and_changes_nothing():
    clock = InputClock()
    found = [int(inputs[0, 0]) for inputs, _ in clock.watch(batches(SLOW_SECONDS)).take(5)]
    assert found == [0, 1, 2, 3, 4]
    assert 5 * SLOW_SECONDS <= clock.seconds() < 10 * SLOW_SECONDS


def test_a_clock_does_not_count_what_was_made_ahead():
    clock = InputClock()
    ahead = clock.watch(batches(0.02).prefetch(2))
    for _ in ahead.take(5):
        time.sleep(SLOW_SECONDS)
    assert clock.seconds() < SLOW_SECONDS


def test_an_epoch_is_told_without_the_call_that_built_its_graph(caplog):
    caplog.set_level(logging.INFO, "swar.progress")
    measured = trained(SLOW_SECONDS)
    assert measured.first_call_seconds > SLOW_SECONDS
    for speed in measured.speeds:
        assert 0.5 * WINDOWS / SLOW_SECONDS < speed.windows_per_second <= WINDOWS / SLOW_SECONDS
        assert 0.5 < speed.waiting <= 1.0
    first, *epochs = [record.getMessage() for record in caplog.records]
    assert first.startswith("the graph and its first step: ")
    assert [line.split(":")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert "windows/s, waiting for input" in epochs[0] and "cores busy" in epochs[0]


def test_input_that_is_there_is_not_waited_for():
    assert trained(0.0).speeds[-1].waiting < 0.5


@pytest.fixture
def cards(monkeypatch):
    """Two cards: what part of the time each is busy, in per cent."""
    busy = [100, 0]
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(busy),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda index: SimpleNamespace(gpu=busy[index]),
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    return busy


def test_the_use_of_all_cards_is_their_mean_over_time(cards, monkeypatch):
    monkeypatch.setattr(throughput, "CARD_LOOK_SECONDS", 0.0)
    use = CardUse()
    assert use.mean() is None
    use.look()
    cards[1] = 100
    use.look()
    assert use.mean() == 0.75
    assert use.mean() is None


def test_cards_are_not_asked_at_every_step(cards):
    use = CardUse()
    use.look()
    cards[:] = [0, 0]
    use.look()
    assert use.mean() == 0.5


def test_on_a_card_its_use_is_told(cards, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "swar.progress")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"])
    measured = Throughput(WINDOWS, InputClock(), epochs=1)
    measured.on_epoch_begin(0)
    for step in range(STEPS):
        measured.on_train_batch_end(step, {"loss": 1.0})
    measured.on_epoch_end(0, {"loss": 1.0})
    assert "card busy 50%" in caplog.records[-1].getMessage()
