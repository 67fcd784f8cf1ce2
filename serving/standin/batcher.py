"""Runs requests that arrive together as a batch.

As in TF Serving's batch scheduler, a batch is due when it is full or has waited long enough,
and still accepts requests while all threads are busy.
"""

import asyncio
import contextlib
import logging
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import tensorflow as tf

from serving import defaults
from serving.standin.servable import Arrays, Servable, Signature
from serving.standin.status import as_op_error

log = logging.getLogger("swar.serving")


@dataclass(frozen=True)
class Batching:
    """How requests are batched; all but `max_rows` are TF Serving's batching parameters."""

    max_batch_size: int = defaults.MAX_BATCH_SIZE
    batch_timeout_micros: int = defaults.BATCH_TIMEOUT_MICROS
    num_batch_threads: int = 2
    max_rows: int = 1_024
    """Rows that may wait, and rows that one request may have."""


@dataclass(eq=False)
class _Batch:
    rows: int = 0
    requests: dict["asyncio.Future[Arrays]", Arrays] = field(default_factory=dict)
    """The inputs of each request, by its future."""
    full: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    """Answers the batch."""


class Batcher:
    """Runs requests in threads, concatenated along their first axis.

    A request of more rows than `max_batch_size` runs in pieces. One that is cancelled before its
    batch starts is dropped. If a batch of several requests fails, each of them runs alone.

    Attributes:
        max_rows: rows that may wait, and that a request may have.
    """

    def __init__(self, batching: Batching) -> None:
        self.max_rows = batching.max_rows
        self._batching = batching
        self._threads = ThreadPoolExecutor(batching.num_batch_threads, "swar-batch")
        self._idle_threads = asyncio.Semaphore(batching.num_batch_threads)
        self._waiting_rows = 0
        self._open: dict[Hashable, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, servable: Servable, signature: Signature, inputs: Arrays) -> Arrays:
        """The outputs for one request; the first axis of each array is its rows.

        Raises tf.errors.OpError: INVALID_ARGUMENT for inputs that do not fit the signature,
        UNAVAILABLE if too many rows wait, or the model's own error.
        """
        shapes = {key: (tf.as_dtype(array.dtype), array.shape) for key, array in inputs.items()}
        rows = signature.rows(shapes, self.max_rows)
        if self._waiting_rows + rows > self.max_rows:
            raise tf.errors.UnavailableError(None, None, "The batch scheduling queue is full")
        size = self._batching.max_batch_size
        pieces = await asyncio.gather(
            *(
                self._enqueue(
                    servable, signature, {key: all_[at : at + size] for key, all_ in inputs.items()}
                )
                for at in range(0, max(1, rows), size)
            )
        )
        if len(pieces) == 1:
            return pieces[0]
        return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}

    def _enqueue(
        self, servable: Servable, signature: Signature, inputs: Arrays
    ) -> "asyncio.Future[Arrays]":
        """The future outputs for at most a batch's rows."""
        rows = len(next(iter(inputs.values())))
        shapes = tuple(sorted((key, array.shape[1:]) for key, array in inputs.items()))
        key = (servable, signature.name, shapes)
        batch = self._open.get(key)
        if batch is None or batch.rows + rows > self._batching.max_batch_size:
            if batch is not None:
                batch.full.set()
            batch = self._open[key] = _Batch()
            batch.task = asyncio.create_task(self._answer(key, batch, servable, signature))
            self._tasks.add(batch.task)
            batch.task.add_done_callback(self._tasks.discard)
        answer: asyncio.Future[Arrays] = asyncio.get_running_loop().create_future()
        batch.requests[answer] = inputs
        answer.add_done_callback(partial(self._forget, key, batch))
        batch.rows += rows
        self._waiting_rows += rows
        if batch.rows >= self._batching.max_batch_size:
            batch.full.set()
            del self._open[key]
        return answer

    def _forget(self, key: Hashable, batch: _Batch, answer: "asyncio.Future[Arrays]") -> None:
        """Releases the inputs of a request that was cancelled while it waited.

        A batch with no request left is cancelled instead of waiting for a thread.
        """
        if (inputs := batch.requests.pop(answer, None)) is None:
            return
        rows = len(next(iter(inputs.values())))
        batch.rows -= rows
        self._waiting_rows -= rows
        if not batch.requests and batch.task is not None:
            batch.task.cancel()
            if self._open.get(key) is batch:
                del self._open[key]

    async def _answer(
        self, key: Hashable, batch: _Batch, servable: Servable, signature: Signature
    ) -> None:
        with contextlib.suppress(TimeoutError):
            # Python 3.11's wait_for would lose a cancellation just when the batch is full.
            async with asyncio.timeout(self._batching.batch_timeout_micros / 1e6):
                await batch.full.wait()
        async with self._idle_threads:  # batches get a thread in the order in which they are due
            if self._open.get(key) is batch:
                del self._open[key]
            self._waiting_rows -= batch.rows
            requests = {
                answer: inputs for answer, inputs in batch.requests.items() if not answer.done()
            }
            batch.requests = {}
            if not requests:  # all were cancelled
                return
            with servable.in_use():
                results = await asyncio.get_running_loop().run_in_executor(
                    self._threads, _run, servable, signature, list(requests.values())
                )
        for answer, result in zip(requests, results, strict=True):
            if not answer.done() and isinstance(result, Exception):
                answer.set_exception(result)
            elif not answer.done():
                answer.set_result(result)

    def close(self) -> None:
        """Starts no more batches. What runs ends when its model is closed."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _run(
    servable: Servable, signature: Signature, requests: list[Arrays]
) -> list[Arrays | tf.errors.OpError]:
    """The outputs of each request, or its error."""
    try:
        return list(_run_together(servable, signature, requests))
    except tf.errors.CancelledError as error:  # the model was closed: none can run alone either
        return [error] * len(requests)
    except Exception as error:
        if len(requests) > 1:
            return [_run(servable, signature, [request])[0] for request in requests]
        if not isinstance(error, tf.errors.OpError):
            log.exception("signature %s failed", signature.name)
        return [_without_frames(as_op_error(error))]


def _without_frames(error: tf.errors.OpError) -> tf.errors.OpError:
    """The same error without its frames, whose reference cycles would keep the inputs."""
    return type(error)(None, None, error.message)


def _run_together(servable: Servable, signature: Signature, requests: list[Arrays]) -> list[Arrays]:
    columns = {key: [request[key] for request in requests] for key in signature.inputs}
    ends = np.cumsum([len(array) for array in next(iter(columns.values()))])
    outputs = servable.run(signature, {key: np.concatenate(each) for key, each in columns.items()})
    for key, output in outputs.items():
        if output.ndim == 0 or len(output) != ends[-1]:
            message = f"Batched output tensor's 0th dimension is not that of the inputs: {key}"
            raise tf.errors.FailedPreconditionError(None, None, message)
    parts = {key: np.split(output, ends[:-1]) for key, output in outputs.items()}
    return [{key: part[index] for key, part in parts.items()} for index in range(len(requests))]
