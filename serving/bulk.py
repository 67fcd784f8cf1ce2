"""Many recordings and one model: a stream of answers, one for a bad recording too.

Only one request's recordings are in memory at a time, and for a list of pairs the embeddings
that later pairs need.
"""

import io
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from components import audio
from components.errors import SwarError
from components.pcm16 import pack_wav, to_pcm16
from serving.answers import OK, Decision, Description, Embedding
from serving.client import FILES_PER_REQUEST, Client
from serving.decisions import DecisionRule
from serving.recordings import SECONDS_MORE, printable
from serving.watching import NOT_DECODED, VERIFY, recording_row

if TYPE_CHECKING:  # their libraries take half a second to import
    from serving.gallery import Gallery
    from serving.recognition import Identification

_BYTES_PER_REQUEST: Final = 2**26
_PAIRS_AT_ONCE: Final = 32


class Pair(NamedTuple):
    """Two recordings to compare."""

    a: Path
    b: Path


@dataclass(frozen=True)
class Comparison:
    """The answer about a pair."""

    pair: Pair
    status_a: str
    """"ok", or why recording a is not usable: the model's status, or why it is not decoded."""
    status_b: str
    decision: Decision | None
    """None unless both are ok."""
    model_digest: str


@dataclass(frozen=True)
class Answer:
    """The answer about one of many recordings to identify."""

    recording: str
    """The path as printable text."""
    status: str
    """"ok", or why the recording is not usable: the model's status, or why it is not decoded."""
    identification: "Identification | None"
    """None unless the status is ok."""
    model_digest: str


def read_pair_list(source: Path) -> list[Pair]:
    """The pairs of a list: lines of two paths with a tab between them. Skips empty lines.

    Args:
        source: a file in UTF-8; the paths are relative to its folder.

    Raises:
        SwarError: it cannot be read or has no pair, or a line is no pair.
    """
    try:
        text = source.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SwarError(f"{source} is not UTF-8 at byte {error.start}: save it as UTF-8") from error
    except OSError as error:
        raise SwarError(f"{source} cannot be read ({error.strerror}): name another list") from error
    pairs = []
    # Lines do not end at characters of a name, such as U+2028.
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        paths = [path.strip() for path in line.split("\t")]
        if len(paths) == 2 and all(paths):
            pairs.append(Pair(source.parent / paths[0], source.parent / paths[1]))
        elif any(paths):
            raise SwarError(
                f"{source} line {number}: is not two paths with a tab between them (a list with "
                "labels is what `swar evaluate --trials` takes)"
            )
    if not pairs:
        raise SwarError(f"{source} holds no pair: write a line of two paths, a tab between them")
    return pairs


def verify_pairs(
    client: Client, pairs: Sequence[Pair], rule: DecisionRule, channel: int | None = None
) -> Iterator[Comparison]:
    """A comparison of each pair by a rule, in order; each file is decoded and embedded once.

    Args:
        client: of the model.
        pairs: of files.
        rule: for the verdicts.
        channel: of the recordings, from 1 on; None for the mean of all.

    Raises:
        SwarError: as in the client's methods, or another model answers than at first.
    """
    description = client.describe()
    uses = Counter(path for pair in pairs for path in pair)
    known: dict[Path, Embedding] = {}
    for first in range(0, len(pairs), _PAIRS_AT_ONCE):
        block = pairs[first : first + _PAIRS_AT_ONCE]
        files = [path for pair in block for path in pair]
        new = [path for path in dict.fromkeys(files) if path not in known]
        known.update(zip(new, _embed_files(client, description, new, channel), strict=True))
        for compared in _compared(client, block, known, description.model_digest):
            scored = compared.decision
            if scored is not None:
                decided = client.decide(VERIFY, scored, rule, compared.model_digest)
                compared = replace(compared, decision=decided)
            yield compared
        for path in files:
            uses[path] -= 1
            if not uses[path]:
                del known[path]


def identify_each(
    client: Client,
    gallery: "Gallery",
    recordings: Sequence[Path],
    *,
    top: int,
    rule: DecisionRule,
    channel: int | None = None,
    among: Collection[str] | None = None,
) -> Iterator[Answer]:
    """An answer for each recording by a rule, in order.

    Args:
        client: of the model.
        gallery: the enrolled speakers.
        recordings: of one speaker each.
        top: how many of the nearest speakers to list for each.
        rule: see `serving.recognition.identification_rule`.
        channel: of the recordings, from 1 on; None for the mean of all.
        among: names from `serving.recognition.enrolled_names`; None for all.

    Raises:
        SwarError: as in the client's and the gallery's methods, or another model answers than
            at first.
    """
    from serving.recognition import identify_embedding

    description = client.describe()
    embeddings = _embed_files(client, description, recordings, channel)
    for recording, embedding in zip(recordings, embeddings, strict=True):
        identification = None
        if embedding.status == OK:
            identification = identify_embedding(
                client, gallery, embedding, top=top, rule=rule, among=among
            )
        yield Answer(printable(recording), embedding.status, identification, embedding.model_digest)


def decode(
    path: str | Path,
    description: Description,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    channel: int | None = None,
) -> bytes | str:
    """The WAV that the model takes, of a file or a cut of it, or else a reason code.

    `channel` counts from 1; None is the mean of all. If the recording is longer than the model
    takes, a second more is decoded, so that the model refuses it.
    """
    longest = (start_seconds or 0.0) + description.max_seconds + SECONDS_MORE
    try:
        samples = audio.decode(
            path,
            sample_rate=description.sample_rate_hz,
            start_seconds=start_seconds,
            end_seconds=longest if end_seconds is None else min(end_seconds, longest),
            channel=channel,
        )
    except audio.AudioError as error:
        return error.reason
    return pack_wav(to_pcm16(samples), description.sample_rate_hz)


def embed_each(
    client: Client,
    description: Description,
    wavs: Iterable[bytes | str],
    *,
    with_quality: bool = True,
) -> Iterator[Embedding]:
    """An embedding for each result of `decode`, in order.

    Args:
        client: of the model.
        description: what the model said of itself at first.
        wavs: WAVs, read as the answers are taken. A status instead of a WAV becomes that of an
            embedding of NaNs.
        with_quality: see `Client.embed_wavs`.

    Raises:
        SwarError: as in the client's methods, or another model answers than described.
    """
    for batch in _batches(wavs):
        usable = [wav for wav in batch if isinstance(wav, bytes)]
        embeddings = iter(client.embed_wavs(usable, with_quality=with_quality))
        for wav in batch:
            if isinstance(wav, str):
                client.show(
                    lambda: recording_row(description.model_digest, NOT_DECODED, None, None)
                )
                embedding = _unusable(wav, description)
            else:
                embedding = next(embeddings)
            if embedding.model_digest != description.model_digest:
                raise SwarError(
                    f"another model answers at {client.url} than at first "
                    f"({description.model_digest}): start the command again"
                )
            yield embedding


def _embed_files(
    client: Client, description: Description, files: Iterable[Path], channel: int | None
) -> Iterator[Embedding]:
    wavs = (decode(file, description, channel=channel) for file in files)
    return embed_each(client, description, wavs)


def _unusable(status: str, description: Description) -> Embedding:
    nothing = np.full(description.embedding_size, np.nan, np.float32)
    return Embedding(nothing, np.nan, status, description.model_digest)


def _batches(wavs: Iterable[bytes | str]) -> Iterator[list[bytes | str]]:
    """Divides the input into requests, always in the same way."""
    batch: list[bytes | str] = []
    for wav in wavs:
        is_full = len(batch) == FILES_PER_REQUEST
        if batch and (is_full or sum(map(len, batch)) + len(wav) > _BYTES_PER_REQUEST):
            yield batch
            batch = []
        batch.append(wav)
    if batch:
        yield batch


def _compared(
    client: Client, pairs: Sequence[Pair], known: dict[Path, Embedding], model_digest: str
) -> Iterator[Comparison]:
    embeddings = [(known[pair.a], known[pair.b]) for pair in pairs]
    usable = [(a.vector, b.vector) for a, b in embeddings if a.status == b.status == OK]
    decisions: Iterator[Decision] = iter(())
    if usable:
        vectors_a, vectors_b = map(np.stack, zip(*usable, strict=True))
        decisions = iter(client.score(vectors_a, vectors_b))
    for pair, (a, b) in zip(pairs, embeddings, strict=True):
        decision = None
        if a.status == b.status == OK:
            decision = client.with_qualities(next(decisions), a.quality, b.quality)
        yield Comparison(pair, a.status, b.status, decision, model_digest)
