"""Calls a Swar model, in this process or on a server, with any recording.

with Client.in_process() as client:  # the base model
    decision = client.verify("a.mp3", "b.m4a")
with Client("grpc://127.0.0.1:8500") as client:  # imports no TensorFlow
    decision = client.verify("a.mp3", "b.m4a")
"""

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from components.errors import SwarError
from components.pcm16 import read_wav
from components.recording_quality import LEAST_SAMPLE_RATE, RecordingQuality, quality_of
from serving import answers, defaults
from serving.answers import OK, Decision, Description, Embedding, Vector
from serving.conditions import CalibratedConditions
from serving.credentials import Credentials
from serving.decisions import DecisionRule, decision_rule, loosest_threshold
from serving.recordings import AudioInput, display_name, listed, to_wav
from serving.transport import Transport, Unavailable, connect
from serving.watching import NOT_DECODED, VERIFY, Row, Watcher, decision_row, recording_row
from serving.wire import Input, ModelSpec, Tensor, one_line

# What is wrong with a recording of each status of the model, and what helps.
_FAULTS: Final[Mapping[str, str]] = {
    "not_wav": "reached the model damaged; try again, and if it stays so report it",
    "too_short": "is too short: record a few seconds of speech",
    "silent": "is silent: see that the microphone is on, and record it again",
    "no_speech": (
        "has too little speech in it, or only noise, tones or music: record a few seconds of "
        "somebody who speaks"
    ),
    "too_long": "is longer than the model accepts: cut it into shorter files",
}
DESCRIBE: Final = "describe"
"""The signature that every model has."""
FILES_PER_REQUEST: Final = 8
"""Bounds a request's bytes and the model's batch."""
PAIRS_PER_REQUEST: Final = 128
"""TF Serving refuses a request of more rows than its `max_batch_size`."""
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 1.0
progress = logging.getLogger("swar.progress")


def fault(name: str, status: str) -> SwarError:
    """The error for a recording whose status is not ok."""
    return SwarError(
        f"{name} {_FAULTS.get(status, f'was refused by the model: {one_line(status)}')}"
    )


class Client:
    """A model that is called. Safe to share between threads.

    Args:
        url: `grpc://HOST:PORT` or `http://HOST:PORT`, and `grpcs://` or `https://` with encryption.
        model: its name; the newest version answers unless a version or a label is given.
        version: its number.
        label: such as "stable".
        deadline_seconds: for one request with all its attempts: a server that is not there yet,
            still loads its model or is overloaded is called again until then.
        attempts: how often a request is sent at most; None for no bound but the deadline.
        credentials: what is trusted and shown on an encrypted connection.
        transport: how the model is called instead of by the URL, which then only names it.
        watchers: get a row of each recording and each decision, see `serving.watching`.

    Raises:
        SwarError: here and in all methods, if the user can correct it; the message says how.
    """

    def __init__(
        self,
        url: str = defaults.URL,
        *,
        model: str = defaults.MODEL_NAME,
        version: int | None = None,
        label: str | None = None,
        deadline_seconds: float = defaults.DEADLINE_SECONDS,
        attempts: int | None = None,
        credentials: Credentials | None = None,
        transport: Transport | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        if version is not None and label is not None:
            raise SwarError("a model is asked for by version or by label, not by both")
        if not 0.0 <= deadline_seconds <= defaults.LONGEST_DEADLINE_SECONDS:
            raise SwarError(
                f"a deadline of {deadline_seconds:g} s: give one of 0 to "
                f"{defaults.LONGEST_DEADLINE_SECONDS:,.0f} s"
            )
        self.url = url
        self.watchers = list(watchers)
        self._description: Description | None = None
        self._deadline_seconds = deadline_seconds
        self._attempts = attempts
        self._is_waiting_shown = False
        spec = ModelSpec(model, version, label)
        self._transport = transport or connect(url, spec, credentials or Credentials())

    @classmethod
    def in_process(cls, model: str = defaults.MODEL, *, watchers: Sequence[Watcher] = ()) -> Self:
        """A client of a model that runs in this process, without a server.

        Args:
            model: as `components.model.files.model_folder` takes it: `base`, or a path.
            watchers: see the class.

        Raises:
            SwarError: there is no such model, or a library that it needs is not installed. A
                model that cannot be loaded raises it in the first call.
        """
        try:
            from serving.in_process import InProcessTransport

            transport = InProcessTransport(model)
        except ModuleNotFoundError as error:
            raise SwarError(
                f"{error.name} is missing, which a model in this process needs: install all of "
                "swar by `make`, or name a server with --url"
            ) from error
        return cls(model, transport=transport, watchers=watchers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    @property
    def sample_rate(self) -> int:
        """Of the WAVs that the model takes, in Hz; the model is asked once."""
        return self._known_description().sample_rate_hz

    def to_wav(self, recording: AudioInput, *, is_watched: bool = True) -> bytes:
        """A recording as the WAV that the model takes; its format is asked for once.

        Args:
            recording: of any format.
            is_watched: whether the watchers get a row if it cannot be decoded.

        Raises:
            SwarError: the recording cannot be decoded, or as in the class.
        """
        known = self._known_description()
        try:
            return to_wav(recording, known.sample_rate_hz, known.max_seconds)
        except SwarError:
            if is_watched:
                self.show(lambda: recording_row(known.model_digest, NOT_DECODED, None, None))
            raise

    def _known_description(self) -> Description:
        return self._description or self.describe()

    def describe(self) -> Description:
        """What the model that answers now says of itself; kept until the next call."""
        try:
            with self._answer_of(DESCRIBE, {"query": [b""]}) as outputs:
                self._description = answers.description(outputs)
                return self._description
        except SwarError as error:
            if DESCRIBE not in str(error):
                raise
            raise SwarError(
                f"the model at {self.url} is of an older version of swar, which does not describe "
                f"itself: publish it again ({error})"
            ) from error

    def loosest_threshold(self) -> float:
        """See `serving.decisions.loosest_threshold`."""
        return loosest_threshold(self._known_description())

    def rule(
        self, max_false_accept: float | None = None, *, prior: float = defaults.PRIOR
    ) -> DecisionRule:
        """A rule for verdicts of the model that answers now, see `serving.decisions.decision_rule`.

        Asks the model again: a version with another calibration may have taken its place.
        """
        return decision_rule(self.describe(), max_false_accept, prior=prior)

    def embed(
        self, recordings: Iterable[AudioInput], *, is_watched: bool = True
    ) -> list[Embedding]:
        """An embedding of each recording; one that is not usable has its status and NaNs.

        Args:
            recordings: of one speaker each.
            is_watched: whether the watchers get a row of each; False if the same recordings come
                again.

        Raises:
            SwarError: a recording cannot be decoded, or as in the class.
            TypeError: `recordings` is a single one.
        """
        embeddings: list[Embedding] = []
        all_of_them = listed(recordings)
        for first in range(0, len(all_of_them), FILES_PER_REQUEST):
            batch = all_of_them[first : first + FILES_PER_REQUEST]
            wavs = [self.to_wav(each, is_watched=is_watched) for each in batch]
            embeddings += self.embed_wavs(wavs, is_watched=is_watched)
        return embeddings

    def embed_wavs(
        self, wavs: Sequence[bytes], *, is_watched: bool = True, with_quality: bool = True
    ) -> list[Embedding]:
        """As `embed`, for WAVs that go to the model as they are, FILES_PER_REQUEST at a time.

        Args:
            wavs: mono, 16-bit PCM at the model's rate, as `to_wav` makes them.
            is_watched: see `embed`.
            with_quality: whether quality is measured. For a second of speech it takes about as
                long as the embedding, so parts of a recording go without.
        """
        embeddings: list[Embedding] = []
        for first in range(0, len(wavs), FILES_PER_REQUEST):
            part = wavs[first : first + FILES_PER_REQUEST]
            with self._answer_of("embed", {"audio": part}) as outputs:
                embeddings += answers.embeddings(outputs, len(part))
        for embedding in embeddings:
            self._check_rate(embedding.status)
        answered = embeddings
        if with_quality:
            answered = [
                replace(embedding, quality=_quality(wav, embedding.speech_seconds))
                for embedding, wav in zip(embeddings, wavs, strict=True)
            ]
        for embedding in answered if is_watched else ():
            self._show_recording(
                embedding.model_digest, embedding.status, embedding.quality, embedding.vector
            )
        return answered

    def verify(
        self,
        recording_a: AudioInput,
        recording_b: AudioInput,
        rule: DecisionRule | None = None,
    ) -> Decision:
        """Whether the same person speaks in two recordings; SwarError if one is not usable.

        The decision says how good the recordings are, and warns if the model's expected error
        rates do not hold for them.

        Args:
            recording_a, recording_b: of one speaker each.
            rule: decides; by default the model's own threshold.
        """
        wav_a, wav_b = map(self.to_wav, (recording_a, recording_b))
        inputs = {"audio_a": [wav_a], "audio_b": [wav_b]}
        with self._answer_of("serving_default", inputs) as outputs:
            statuses = answers.statuses(outputs)
            seconds = answers.verified_seconds(outputs)
            decision = answers.decisions(outputs, 1)[0] if statuses == (OK, OK) else None
        quality_a, quality_b = map(_quality, (wav_a, wav_b), seconds)
        for status, quality in zip(statuses, (quality_a, quality_b), strict=True):
            self._check_rate(status)
            self._show_recording(None, status, quality)
        for recording, status in zip((recording_a, recording_b), statuses, strict=True):
            if status != OK:
                raise fault(display_name(recording), status)
        assert decision is not None  # both are ok
        return self.decide(VERIFY, self.with_qualities(decision, quality_a, quality_b), rule)

    def with_qualities(
        self,
        decision: Decision,
        quality_a: RecordingQuality | None,
        quality_b: RecordingQuality | None = None,
        *,
        enrolled_hz: Sequence[float] = (),
    ) -> Decision:
        """A decision with the qualities of the recordings, and the warnings that follow.

        Args:
            decision: of the model.
            quality_a: of the recording in question.
            quality_b: of the recording that it was compared with; None for an enrolled speaker.
            enrolled_hz: bandwidths of an enrolled speaker's recordings.
        """
        names = ("recording A", "recording B") if quality_b is not None else ("the recording", "")
        qualities = dict(zip(names, (quality_a, quality_b), strict=True))
        return replace(
            decision,
            quality_a=quality_a,
            quality_b=quality_b,
            warnings=self.conditions().warnings(qualities, enrolled_hz),
        )

    def conditions(self) -> CalibratedConditions:
        """The conditions that the model's expected error rates hold for."""
        return self._known_description().conditions

    def decide(
        self,
        kind: str,
        decision: Decision,
        rule: DecisionRule | None,
        model_digest: str | None = None,
    ) -> Decision:
        """Applies a rule to a score, and gives the watchers a row of it.

        Args:
            kind: of the question, see `serving.watching.Row`.
            decision: the model's score.
            rule: decides; None for the model's own threshold.
            model_digest: of the model; None to ask it, if there are watchers.
        """
        decided = decision if rule is None else rule.apply(decision)
        self.show(
            lambda: decision_row(
                model_digest or self.model_digest(), kind, decided.verdict, decided
            )
        )
        return decided

    def show(self, row: Callable[[], Row]) -> None:
        """Gives a row to the watchers; it is not made if there are none."""
        if self.watchers:
            made = row()
            for watcher in self.watchers:
                watcher(made)

    def _show_recording(
        self,
        model_digest: str | None,
        status: str,
        quality: RecordingQuality | None,
        vector: Vector | None = None,
    ) -> None:
        used = quality if status == OK else None
        self.show(lambda: recording_row(model_digest or self.model_digest(), status, used, vector))

    def score(self, embeddings_a: npt.ArrayLike, embeddings_b: npt.ArrayLike) -> list[Decision]:
        """A decision for each row of two arrays of embeddings, float32 [N, D], however many.

        Raises:
            SwarError: they are not of this model, or one is of an unusable recording; or as in
                the class.
            ValueError: they are not two arrays of one shape [N, D].
        """
        rows_a, rows_b = (np.asarray(rows, np.float32) for rows in (embeddings_a, embeddings_b))
        if not (rows_a.size or rows_b.size):
            return []
        if rows_a.shape != rows_b.shape or rows_a.ndim != 2:
            raise ValueError(
                f"embeddings of shapes {list(rows_a.shape)} and {list(rows_b.shape)}: two arrays "
                "[N, D] are needed"
            )
        self._check_size(rows_a.shape[1])
        if not (np.isfinite(rows_a).all() and np.isfinite(rows_b).all()):
            raise SwarError(
                "an embedding holds NaN, as that of a recording whose status is not ok: leave it "
                "out"
            )
        decisions: list[Decision] = []
        for start in range(0, len(rows_a), PAIRS_PER_REQUEST):
            part = slice(start, start + PAIRS_PER_REQUEST)
            inputs = {"embedding_a": rows_a[part], "embedding_b": rows_b[part]}
            with self._answer_of("score_embeddings", inputs) as outputs:
                decisions += answers.decisions(outputs, len(rows_a[part]))
        return decisions

    def _check_size(self, size: int) -> None:
        """Raises SwarError unless the embeddings of the model that answers now have this size."""
        if size == self._known_description().embedding_size:
            return
        of_model = self.describe().embedding_size
        if size != of_model:
            raise SwarError(
                f"these embeddings have {size:,} numbers, and those of the model at {self.url} "
                f"{of_model:,}: embed the recordings with this model"
            )

    def model_digest(self) -> str:
        """The digest of the model that answers now, which its embeddings carry."""
        return self.describe().model_digest

    def _check_rate(self, status: str) -> None:
        if status == "wrong_sample_rate":
            self._description = None
            raise SwarError(
                f"{self.url} answers with another model than before, which takes another sample "
                "rate: call it again"
            )

    @contextlib.contextmanager
    def _answer_of(
        self, signature: str, inputs: Mapping[str, Input]
    ) -> Iterator[dict[str, Tensor]]:
        """A signature's outputs; a ValueError from reading them becomes a SwarError."""
        try:
            yield self._outputs(signature, inputs)
        except ValueError as error:
            raise SwarError(
                f"{self.url} does not answer {signature!r} as a Swar model does "
                f"({one_line(str(error))}): is "
                "the right model served there?"
            ) from error

    def _outputs(self, signature: str, inputs: Mapping[str, Input]) -> dict[str, Tensor]:
        """A signature's outputs, requested until the deadline.

        Nothing here may keep an error: its frames hold the recordings, which would stay in memory
        until Python collects the reference cycles.
        """
        started = time.monotonic()
        ends_at = started + self._deadline_seconds
        longest = _FIRST_PAUSE_SECONDS
        attempts = 0
        while True:
            attempts += 1
            try:
                left_seconds = max(0.001, ends_at - time.monotonic())
                return self._transport.predict(signature, inputs, left_seconds)
            except Unavailable as error:
                pause = random.uniform(0.0, longest)
                is_last = attempts == self._attempts or time.monotonic() + pause >= ends_at
                if is_last or not error.is_passing:
                    raise SwarError(
                        f"no endpoint answers at {self.url}: start one with `swar serve MODEL`, or "
                        f"name another with --url (the last of the attempts: "
                        f"{one_line(str(error))})"
                    ) from error
            except TimeoutError as error:
                raise SwarError(
                    f"{self.url} did not answer within {self._deadline_seconds:g} s: it may be "
                    "overloaded; allow more with --deadline"
                ) from error
            self._show_waiting(time.monotonic() - started)
            time.sleep(pause)
            longest = min(2.0 * longest, _LONGEST_PAUSE_SECONDS)

    def _show_waiting(self, waited_seconds: float) -> None:
        """Says once what is waited for, if the answer takes longer than a busy server's."""
        if not self._is_waiting_shown and waited_seconds > _QUIET_SECONDS:
            self._is_waiting_shown = True
            progress.info("waiting for %s, for %g s at most", self.url, self._deadline_seconds)


def _quality(wav: bytes, speech_seconds: float | None) -> RecordingQuality | None:
    """None for what is no mono 16-bit PCM WAV or has too low a sample rate."""
    read = read_wav(wav)
    if read is None or read[1] < LEAST_SAMPLE_RATE:
        return None
    return quality_of(*read, speech_seconds)
