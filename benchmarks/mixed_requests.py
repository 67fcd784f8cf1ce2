"""Requests of every kind to a served model, and the answer that each must get."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp
import numpy as np

from benchmarks.interfaces import HOST, MODEL, Inputs, Interface, Reply
from components.pcm16 import pack_wav

OK, NO_SPEECH = "ok", "no_speech"
GOOD_SECONDS, GOOD_OF_EACH = (3.0, 10.0), 4
TOLERANCE: Final = 1e-4

Request = Callable[[], Awaitable[object]]


class Wrong(Exception):
    """An answer is wrong."""


class CutOff(Exception):
    """A request was cut off before its answer, as intended."""


class Versions:
    """The versions that may answer: none older than the newest that was seen available."""

    def __init__(self, digests: dict[str, int]) -> None:
        """Takes the version of each `model_digest`."""
        self.of_digest = digests
        self.newest = max(digests.values())
        self.newer = asyncio.Event()

    def seen(self, available: int) -> None:
        """Records that a version is available."""
        if available > self.newest:
            self.newest = available
            self.newer.set()

    def check(self, answer: Reply, at_least: int) -> None:
        """Raises Wrong if another version answered, or two of them."""
        told = {self.of_digest.get(digest) for digest in answer.outputs.get("model_digest", [])}
        if answer.version is not None:
            told.add(answer.version)
        if len(told) > 1 or any(version is None or version < at_least for version in told):
            raise Wrong(f"answered by version {told} where it is {at_least} at least")


def make_recordings(speech: np.ndarray, card: Mapping[str, Any]) -> dict[str, bytes]:
    """WAVs: good ones with names like "3 s, 0", bad ones named by their right status.

    Args:
        speech: float [samples], at the model's rate.
        card: the model's `swar.json`.
    """
    rate = int(card["sample_rate"])
    pcm16 = (np.asarray(speech) * np.iinfo(np.int16).max).astype(np.int16)
    made = {}
    for seconds in GOOD_SECONDS:
        length = round(seconds * rate)
        starts = np.linspace(0, len(pcm16) - length, GOOD_OF_EACH, dtype=int)
        for number, start in enumerate(starts):
            made[f"{seconds:g} s, {number}"] = pack_wav(pcm16[start : start + length], rate)
    too_few = round(card["speech"]["min_speech_seconds"] * rate / 2)
    too_many = round(card["serving"]["max_seconds"] * rate) + 1
    return made | {
        "not_wav": b"This is no recording. " * 1000,
        "wrong_sample_rate": pack_wav(pcm16[: 3 * rate], 2 * rate),
        "silent": pack_wav(np.zeros(3 * rate, np.int16), rate),
        "too_short": pack_wav(pcm16[:too_few], rate),
        "too_long": pack_wav(np.resize(pcm16, too_many), rate),
    }


class Expected:
    """Sends requests, and raises Wrong if an answer is not the right one.

    The right answer for a good recording is the one that it got alone, when it was learnt.
    """

    def __init__(self, recordings: Mapping[str, bytes], versions: Versions) -> None:
        self.good = [name for name in recordings if name.split()[0].isdecimal()]
        self.bad = [name for name in recordings if name not in self.good]
        self.versions = versions
        self._recordings = recordings
        self._embeddings: dict[str, list[float]] = {}
        self._distances: dict[tuple[str, str], float] = {}

    async def learn(self, interface: Interface) -> None:
        """Learns the answer for every good recording, and its distance to the one before it."""
        for name, before in zip(self.good, np.roll(self.good, 1).tolist(), strict=True):
            answer = await self._ask(interface, "embed", self.audio(name))
            self._embeddings[name] = answer.outputs["embedding"][0]
            answer = await self._ask(interface, "serving_default", self.pair(name, before))
            self._distances[name, before] = answer.outputs["distance"][0]

    def audio(self, *names: str) -> Inputs:
        """Inputs of `embed`."""
        return {"audio": [self._recordings[name] for name in names]}

    def pair(self, name_a: str, name_b: str) -> Inputs:
        """Inputs of `serving_default`."""
        return {"audio_a": [self._recordings[name_a]], "audio_b": [self._recordings[name_b]]}

    async def embed(self, interface: Interface, *names: str) -> None:
        """Embeds recordings in one request: each must get its status, the bad ones NaN."""
        answer = await self._ask(interface, "embed", self.audio(*names))
        self.check_embeddings(answer, names)

    async def send_embed(self, interface: Interface, body: bytes, *names: str) -> None:
        """Like `embed`, with a body that stands for these recordings."""
        self.check_embeddings(await self._send(interface, body), names)

    async def embed_between(self, interface: Interface, recording: bytes) -> None:
        """Embeds a recording with an unknown answer between two good ones."""
        before, after = self.good[:2]
        (first,), (last,) = (self.audio(name)["audio"] for name in (before, after))
        answer = await self._ask(interface, "embed", {"audio": [first, recording, last]})
        outputs = _answered(answer)
        _, status, _ = outputs["status"]
        if status not in (OK, NO_SPEECH, *self.bad):
            raise Wrong(f"status: {status!r}")
        if (status == OK) != np.isfinite(outputs["embedding"].pop(1)).all():
            raise Wrong(f"a recording that is {status} has numbers, or one that is ok has none")
        outputs["status"].pop(1)
        self.check_embeddings(answer, [before, after])

    async def verify(self, interface: Interface, name_a: str, name_b: str) -> None:
        """Compares a good recording with the one before it, or with a bad one."""
        answer = await self._ask(interface, "serving_default", self.pair(name_a, name_b))
        outputs = _answered(answer)
        statuses = self._statuses([name_a, name_b])
        _check_equal("statuses", [*outputs["status_a"], *outputs["status_b"]], statuses)
        distance = self._distances.get((name_a, name_b), float("nan"))
        _check_close("distance", outputs["distance"], [distance])
        if np.isnan(distance):
            _check_equal("same_speaker", outputs["same_speaker"], [False])

    async def refuse(self, interface: Interface, body: bytes, code: str) -> None:
        """Sends a request that must be refused with a code."""
        _check_equal("refusal", (await self._send(interface, body)).refused, code)

    async def status(self, session: aiohttp.ClientSession, port: int) -> None:
        """Asks for the versions, of which one must be available at any time."""
        async with session.get(f"http://{HOST}:{port}/v1/models/{MODEL.name}") as response:
            told = await response.json()
        available = [
            int(version["version"])
            for version in told["model_version_status"]
            if version["state"] == "AVAILABLE"
        ]
        if not available:
            raise Wrong(f"no version is available: {json.dumps(told)}")
        self.versions.seen(max(available))

    def check_embeddings(self, answer: Reply, names: Sequence[str]) -> None:
        """Raises Wrong if embeddings are wrong."""
        outputs = _answered(answer)
        _check_equal("status", outputs["status"], self._statuses(names))
        for name, embedding in zip(names, outputs["embedding"], strict=True):
            expected = self._embeddings.get(name, [float("nan")] * len(embedding))
            _check_close(f"embedding of {name}", embedding, expected)

    def _statuses(self, names: Sequence[str]) -> list[str]:
        return [OK if name in self.good else name for name in names]

    async def _ask(self, interface: Interface, signature: str, inputs: Inputs) -> Reply:
        return await self._send(interface, interface.body(signature, inputs))

    async def _send(self, interface: Interface, body: bytes) -> Reply:
        at_least = self.versions.newest
        answer = await interface.send(body)
        self.versions.check(answer, at_least)
        return answer


async def cut_off(request: Request, after_seconds: float) -> None:
    """Drops a request and its connection after a time. Raises CutOff unless it was answered."""
    try:
        async with asyncio.timeout(after_seconds):
            await request()
    except TimeoutError as error:
        raise CutOff from error


def _answered(answer: Reply) -> dict[str, list[Any]]:
    if answer.refused is not None:
        raise Wrong(f"refused with {answer.refused}")
    return answer.outputs


def _check_equal(what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise Wrong(f"{what}: {got!r}, not {expected!r}")


def _check_close(what: str, got: list[float], expected: list[float]) -> None:
    if not np.allclose(got, expected, rtol=0.0, atol=TOLERANCE, equal_nan=True):
        raise Wrong(f"{what}: {got}, not {expected}")
