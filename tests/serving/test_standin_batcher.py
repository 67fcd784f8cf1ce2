"""What runs together, what does not, and what happens when it fails."""

import asyncio
import contextlib
import gc
import threading
import weakref

import numpy as np
import pytest
import tensorflow as tf

from serving.standin.batcher import Batcher, Batching


class FakeSignature:
    """Takes `x` [n] or [n, m], whose first values are its rows."""

    def __init__(self, name="double"):
        self.name = name
        self.inputs = {"x": None}

    def rows(self, shapes, max_rows):
        _, (rows, *_) = shapes["x"]
        if rows > max_rows:
            raise tf.errors.InvalidArgumentError(
                None, None, f"size {rows} is larger than {max_rows}"
            )
        return rows


class FakeServable:
    """Doubles; writes down its batches; fails for negative values; waits until it may run."""

    def __init__(self):
        self.batches = []
        self.may_run = threading.Event()
        self.may_run.set()

    def run(self, signature, inputs):
        self.may_run.wait(10)
        self.batches.append(inputs["x"].tolist())
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        if signature.name == "whole":
            return {"y": inputs["x"].sum()}
        return {"y": inputs["x"] * 2}

    def in_use(self):
        return threading.Lock()  # any context manager


@contextlib.asynccontextmanager
async def batcher(size=4, timeout_ms=20, threads=1, rows=400):
    with contextlib.closing(Batcher(Batching(size, timeout_ms * 1_000, threads, rows))) as run:
        yield run


def x(*values):
    return {"x": np.array(values)}


def in_loop(work):
    return asyncio.run(asyncio.wait_for(work, 10))


DOUBLE = FakeSignature()


def test_requests_that_arrive_together_run_together():
    async def work():
        servable = FakeServable()
        async with batcher() as run:
            answers = await asyncio.gather(
                run.run(servable, DOUBLE, x(1)),
                run.run(servable, DOUBLE, x(2, 3)),
                run.run(servable, DOUBLE, x(4)),
                run.run(servable, DOUBLE, x(5)),
            )
        return servable.batches, [answer["y"].tolist() for answer in answers]

    batches, answers = in_loop(work())
    assert batches == [[1, 2, 3, 4], [5]]
    assert answers == [[2], [4, 6], [8], [10]]


def test_what_was_cancelled_with_its_model_is_not_run_again_alone(caplog):
    class Closed(FakeServable):
        def run(self, signature, inputs):
            self.batches.append(inputs["x"].tolist())
            raise tf.errors.CancelledError(None, None, "closed")

    async def work():
        servable = Closed()
        async with batcher() as run:
            requests = (run.run(servable, DOUBLE, x(value)) for value in (1, 2))
            answers = await asyncio.gather(*requests, return_exceptions=True)
        return servable.batches, answers

    batches, answers = in_loop(work())
    assert batches == [[1, 2]]
    assert [type(answer) for answer in answers] == [tf.errors.CancelledError] * 2
    assert caplog.records == []


def test_a_full_batch_does_not_wait():
    async def work():
        servable = FakeServable()
        async with batcher(size=2, timeout_ms=60_000) as run:
            await asyncio.gather(*(run.run(servable, DOUBLE, x(i)) for i in range(4)))
        return servable.batches

    assert in_loop(work()) == [[0, 1], [2, 3]]


def test_one_request_waits_no_longer_than_it_must():
    async def work():
        servable = FakeServable()
        async with batcher(size=100, timeout_ms=50) as run:
            loop = asyncio.get_running_loop()
            started = loop.time()
            await run.run(servable, DOUBLE, x(1))
            return loop.time() - started

    assert 0.05 <= in_loop(work()) < 1


def test_a_request_larger_than_a_batch_runs_in_pieces():
    async def work():
        servable = FakeServable()
        async with batcher(size=2, timeout_ms=5) as run:
            answers = await asyncio.gather(
                run.run(servable, DOUBLE, x(*range(5))), run.run(servable, DOUBLE, x(9))
            )
        return servable.batches, [answer["y"].tolist() for answer in answers]

    assert in_loop(work()) == ([[0, 1], [2, 3], [4, 9]], [[0, 2, 4, 6, 8], [18]])


def test_signatures_models_and_shapes_are_not_mixed():
    async def work():
        one, other = FakeServable(), FakeServable()
        async with batcher() as run:
            await asyncio.gather(
                run.run(one, DOUBLE, x(1)),
                run.run(one, FakeSignature("other"), x(2)),
                run.run(one, DOUBLE, x([3, 3])),
                run.run(other, DOUBLE, x(4)),
            )
        return sorted(one.batches, key=str), other.batches

    assert in_loop(work()) == ([[1], [2], [[3, 3]]], [[4]])


def test_a_bad_request_does_not_fail_its_neighbours():
    async def work():
        servable = FakeServable()
        async with batcher() as run:
            return await asyncio.gather(
                *(run.run(servable, DOUBLE, x(value)) for value in (1, -2, 3)),
                return_exceptions=True,
            )

    good, bad, also_good = in_loop(work())
    assert (good["y"].tolist(), also_good["y"].tolist()) == ([2], [6])
    assert isinstance(bad, tf.errors.InternalError)
    assert "negative" in bad.message


def test_an_output_that_is_not_of_rows():
    async def work():
        async with batcher() as run:
            await run.run(FakeServable(), FakeSignature("whole"), x(1, 2))

    with pytest.raises(tf.errors.FailedPreconditionError, match="0th dimension"):
        in_loop(work())


def test_a_cancelled_request_is_dropped_before_it_runs():
    async def work():
        servable = FakeServable()
        servable.may_run.clear()
        async with batcher(timeout_ms=1) as run:
            first = asyncio.create_task(run.run(servable, DOUBLE, x(1)))
            await asyncio.sleep(0.05)  # the only thread is taken
            dropped = asyncio.create_task(run.run(servable, DOUBLE, x(2)))
            kept = asyncio.create_task(run.run(servable, DOUBLE, x(3)))
            await asyncio.sleep(0.05)
            dropped.cancel()
            await asyncio.sleep(0)
            servable.may_run.set()
            await asyncio.gather(first, kept)
            assert dropped.cancelled()
        return servable.batches

    assert in_loop(work()) == [[1], [3]]


@pytest.mark.parametrize("rows", [1, 4])
def test_batches_of_which_all_were_cancelled_do_not_pile_up(rows):
    """While the model runs for long, a client may ask and go away as often as it likes."""

    async def work():
        servable = FakeServable()
        servable.may_run.clear()
        async with batcher(timeout_ms=1) as run:
            running = asyncio.create_task(run.run(servable, DOUBLE, x(1)))
            await asyncio.sleep(0.05)  # the only thread is taken
            before = len(asyncio.all_tasks())
            for _ in range(100):
                gone = asyncio.create_task(run.run(servable, DOUBLE, x(*[2] * rows)))
                await asyncio.sleep(0.001)
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
            await asyncio.sleep(0.05)
            piled_up = len(asyncio.all_tasks()) - before
            servable.may_run.set()
            await running
            answer = await run.run(servable, DOUBLE, x(3))
        return piled_up, answer["y"].tolist(), servable.batches

    assert in_loop(work()) == (0, [6], [[1], [3]])


def test_a_request_that_is_cancelled_while_it_runs_harms_nobody():
    async def work():
        servable = FakeServable()
        servable.may_run.clear()
        async with batcher() as run:
            gone = asyncio.create_task(run.run(servable, DOUBLE, x(1)))
            kept = asyncio.create_task(run.run(servable, DOUBLE, x(2)))
            await asyncio.sleep(0.1)
            gone.cancel()
            await asyncio.sleep(0)
            servable.may_run.set()
            return (await kept)["y"].tolist(), servable.batches

    assert in_loop(work()) == ([4], [[1, 2]])


def test_what_was_cancelled_while_it_waited_takes_no_memory_and_no_room():
    async def work():
        servable = FakeServable()
        servable.may_run.clear()
        async with batcher(size=2, timeout_ms=1, rows=4) as run:
            running = asyncio.create_task(run.run(servable, DOUBLE, x(1, 1)))
            await asyncio.sleep(0.05)  # the only thread has it
            for _ in range(2):
                inputs = x(*range(4))
                held = weakref.ref(inputs["x"])
                gone = asyncio.create_task(run.run(servable, DOUBLE, inputs))
                del inputs
                await asyncio.sleep(0.02)
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
                del gone
                await asyncio.sleep(0)
                gc.collect()
                assert held() is None
            servable.may_run.set()
            return (await running)["y"].tolist(), servable.batches

    assert in_loop(work()) == ([2, 2], [[1, 1]])


def test_too_many_requests_are_refused():
    async def work():
        servable = FakeServable()
        servable.may_run.clear()
        async with batcher(size=2, timeout_ms=1, rows=4) as run:
            tasks = [asyncio.create_task(run.run(servable, DOUBLE, x(0, 0)))]
            await asyncio.sleep(0.05)
            tasks += [asyncio.create_task(run.run(servable, DOUBLE, x(i))) for i in range(5)]
            await asyncio.sleep(0.05)
            servable.may_run.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    answers = in_loop(work())
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert [type(error) for error in refused] == [tf.errors.UnavailableError]
    assert len(answers) - len(refused) == 5


def test_a_request_of_more_rows_than_may_wait_is_refused():
    async def work():
        servable = FakeServable()
        async with batcher(size=2, rows=4) as run:
            await run.run(servable, DOUBLE, x(*range(5)))

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"size 5 is larger .* 4"):
        in_loop(work())


def test_a_busy_signature_does_not_starve_another():
    async def work():
        servable = FakeServable()
        async with batcher(size=2, timeout_ms=20) as run:
            done = asyncio.Event()

            async def busy():
                while not done.is_set():
                    await run.run(servable, DOUBLE, x(1))

            others = [asyncio.create_task(busy()) for _ in range(8)]
            await asyncio.sleep(0.05)
            await asyncio.wait_for(run.run(servable, FakeSignature("rare"), x(7)), 2)
            done.set()
            await asyncio.gather(*others)

    in_loop(work())


def test_the_event_loop_is_free_while_the_model_runs():
    async def work():
        servable = FakeServable()
        servable.may_run.clear()
        async with batcher() as run:
            task = asyncio.create_task(run.run(servable, DOUBLE, x(1)))
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not task.done()
            servable.may_run.set()
            await task

    in_loop(work())
