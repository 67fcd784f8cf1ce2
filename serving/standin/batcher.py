"""Requests that arrive together run together.

Like TF Serving's batch scheduler: a batch is due when it is full or its oldest request has
waited long enough, and still takes requests in while all threads are busy.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc
import numpy as np

from serving import defaults
from serving.standin.servable import Arrays, Servable, Signature
from serving.standin.status import ServingError

log = logging.getLogger("swar.serving")


@dataclass(frozen=True)
class Batching:
    """How requests are batched; the names are those of TF Serving's batching parameters."""

    max_batch_size: int = defaults.MAX_BATCH_SIZE
    batch_timeout_micros: int = defaults.BATCH_TIMEOUT_MICROS
    num_batch_threads: int = 2
    max_enqueued_batches: int = 64


@dataclass(eq=False)
class _Request:
    inputs: Arrays
    rows: int
    due: float
    answer: "asyncio.Future[Arrays]"


@dataclass(eq=False)
class _Queue:
    servable: Servable
    signature: Signature
    requests: deque[_Request] = field(default_factory=deque)

    @property
    def rows(self) -> int:
        return sum(request.rows for request in self.requests)


class Batcher:
    """Runs requests in threads, concatenated along their first axis. An async context manager.

    A request of more rows than `max_batch_size` runs alone. One that is cancelled before its
    batch starts is dropped. Where a batch of several fails, each of its requests runs alone.
    """

    def __init__(self, batching: Batching) -> None:
        self._batching = batching
        self._timeout_seconds = batching.batch_timeout_micros / 1e6
        self._queues: dict[Hashable, _Queue] = {}
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(batching.num_batch_threads, "swar-batch")
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._workers = [
            asyncio.create_task(self._work()) for _ in range(self._batching.num_batch_threads)
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._threads.shutdown()

    async def run(self, servable: Servable, signature: Signature, inputs: Arrays) -> Arrays:
        """The outputs for one request, whose first axes are its rows.

        Raises ServingError: INVALID_ARGUMENT for inputs that do not fit the signature,
        UNAVAILABLE when too many wait, else what the model failed with.
        """
        rows = signature.rows(inputs)
        shapes = tuple(sorted((key, array.shape[1:]) for key, array in inputs.items()))
        key = (servable, signature.name, shapes)
        queue = self._queues.setdefault(key, _Queue(servable, signature))
        room = self._batching.max_batch_size * self._batching.max_enqueued_batches
        if queue.requests and queue.rows + rows > room:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        loop = asyncio.get_running_loop()
        due = loop.time() + self._timeout_seconds
        request = _Request(inputs, rows, due, loop.create_future())
        queue.requests.append(request)
        self._arrived.set()
        try:
            return await request.answer
        finally:
            if request in queue.requests:
                queue.requests.remove(request)
            if not queue.requests and self._queues.get(key) is queue:
                del self._queues[key]

    async def _work(self) -> None:
        while True:
            queue = await self._next_due()
            batch = [request for request in self._take(queue) if not request.answer.done()]
            if not batch:
                continue
            with queue.servable.in_use():
                answers = await asyncio.get_running_loop().run_in_executor(
                    self._threads, _answers, queue.servable, queue.signature, batch
                )
            for request, answer in zip(batch, answers, strict=True):
                if request.answer.done():
                    continue
                if isinstance(answer, ServingError):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)

    async def _next_due(self) -> _Queue:
        loop = asyncio.get_running_loop()
        while True:
            waiting = [queue for queue in self._queues.values() if queue.requests]
            first = min(waiting, key=self._due, default=None)
            if first is not None and self._due(first) <= loop.time():
                return first
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if first is None else self._due(first)):
                    await self._arrived.wait()

    def _due(self, queue: _Queue) -> float:
        """When the queue may run; a full one since its first request came, so that none starves."""
        due = queue.requests[0].due
        full = queue.rows >= self._batching.max_batch_size
        return due - self._timeout_seconds if full else due

    def _take(self, queue: _Queue) -> list[_Request]:
        batch = [queue.requests.popleft()]
        rows = batch[0].rows
        while queue.requests and rows + queue.requests[0].rows <= self._batching.max_batch_size:
            batch.append(queue.requests.popleft())
            rows += batch[-1].rows
        return batch


def _answers(
    servable: Servable, signature: Signature, batch: Sequence[_Request]
) -> list[Arrays | ServingError]:
    try:
        return list(_run(servable, signature, batch))
    except Exception as error:
        if len(batch) > 1:
            return [_answers(servable, signature, [request])[0] for request in batch]
        failure = ServingError.of(error)
        if failure.code == grpc.StatusCode.INTERNAL:
            log.exception("signature %s failed", signature.name)
        return [failure]


def _run(servable: Servable, signature: Signature, batch: Sequence[_Request]) -> list[Arrays]:
    inputs = {
        key: np.concatenate([request.inputs[key] for request in batch]) for key in signature.inputs
    }
    outputs = servable.run(signature, inputs)
    rows = [request.rows for request in batch]
    for key, output in outputs.items():
        if output.ndim == 0 or len(output) != sum(rows):
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Batched output tensor's 0th dimension does not equal the sum of the 0th "
                f"dimension sizes of the input tensors: output {key!r} has shape {output.shape}",
            )
    ends = np.cumsum(rows)
    return [
        {key: output[end - count : end] for key, output in outputs.items()}
        for count, end in zip(rows, ends, strict=True)
    ]
