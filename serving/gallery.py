"""The enrolled speakers: one row for each recording, and what is found among them."""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import col, lit

from components.errors import SwarError
from serving.answers import Embedding, Vector
from serving.gallery_table import SCHEMA, GalleryTable, retried
from serving.references import Neighbour, References, mean_embedding

_MAX_NAME_CHARACTERS: Final = 200
# Joiners shape letters of Devanagari and other scripts; no other invisible character is a name's.
_JOINERS: Final = "\u200c\u200d"
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


@dataclass(frozen=True)
class Enrolment:
    """A recording to enrol, and what the model made of it."""

    embedding: Embedding
    source: str
    """The file's name, bytes of it that are not UTF-8 as backslash escapes."""
    wav: bytes


@dataclass(frozen=True)
class Enrolled:
    """A speaker's recordings, possibly none."""

    vectors: Vector
    """float32 [N, D]"""
    speech_seconds: float
    ids: frozenset[str]
    """Of the recordings, as `recording_id` gives them."""


@dataclass(frozen=True)
class Speaker:
    """What is known of an enrolled speaker."""

    name: str
    recordings: int
    speech_seconds: float
    last_enrolled: datetime
    audio_kept: bool
    """Of every recording."""


@dataclass(frozen=True)
class Stale:
    """The recordings whose vectors another model than the one in use made."""

    kept_ids: list[str]
    """Of those whose audio was kept."""
    speakers_without_audio: list[str]
    """Whose audio was not kept."""


def speaker_name(text: str) -> str:
    """A name as the gallery writes it, Unicode NFC, without spaces at its ends.

    Raises:
        SwarError: it is empty, too long, or has line breaks or invisible characters.
    """
    name = unicodedata.normalize("NFC", text).strip()
    for char in name:
        if unicodedata.category(char) in _INVISIBLE and char not in _JOINERS:
            raise SwarError(
                f"the name {text!r} has the invisible character U+{ord(char):04X}: leave it out"
            )
    if not 1 <= len(name) <= _MAX_NAME_CHARACTERS:
        raise SwarError(
            f"a name of {len(name)} characters: give one of 1 to {_MAX_NAME_CHARACTERS}"
        )
    return name


def recording_id(name: str, wav: bytes) -> str:
    """Names a speaker's recording: the same samples of the same speaker are one recording."""
    return hashlib.sha256(speaker_name(name).encode() + b"\0" + wav).hexdigest()


class Gallery:
    """Enrolled speakers. Safe to share between threads and processes.

    Args:
        uri: a folder, or a URI that LanceDB knows, such as `s3://bucket/gallery`.

    Raises:
        SwarError: of all methods, where the user can mend it; the message says how.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri = os.fspath(uri)
        self._table = GalleryTable(self.uri)
        self._references: tuple[int, str, References] | None = None

    def exists(self) -> bool:
        """Whether anybody was ever enrolled here."""
        return self._table.exists()

    def enroll(self, name: str, enrolments: Sequence[Enrolment], *, keep_audio: bool) -> int:
        """Adds recordings of a speaker, all or none; one that is there already stays as it is.

        Returns:
            How many were added.
        """
        name = speaker_name(name)
        now = datetime.now(UTC)
        rows = [
            {
                "id": recording_id(name, each.wav),
                "speaker": name,
                "vector": each.embedding.vector,
                "model_digest": each.embedding.model_digest,
                "speech_seconds": each.embedding.speech_seconds,
                "source": each.source,
                "enrolled_at": now,
                "audio": each.wav if keep_audio else None,
            }
            for each in enrolments
        ]
        with self._table.opened(create=True) as table:
            present = table.search().select(["model_digest"]).to_arrow()
            for each in enrolments:
                self._check_model(present, each.embedding.model_digest)
            merge = table.merge_insert("id").when_not_matched_insert_all()
            done = retried(merge.execute)(pa.Table.from_pylist(rows, schema=SCHEMA))
            self._table.compact(table)
        return int(done.num_inserted_rows)

    def speakers(self) -> list[Speaker]:
        """Everybody, by name."""
        columns = {name: name for name in ("speaker", "speech_seconds", "enrolled_at")}
        with self._table.opened() as table:
            rows = table.search().select(columns | {"kept": "audio IS NOT NULL"}).to_arrow()
        grouped = rows.group_by("speaker").aggregate(
            [
                ("speaker", "count"),
                ("speech_seconds", "sum"),
                ("enrolled_at", "max"),
                ("kept", "min"),
            ]
        )
        return [
            Speaker(
                name=row["speaker"],
                recordings=row["speaker_count"],
                speech_seconds=row["speech_seconds_sum"],
                last_enrolled=row["enrolled_at_max"],
                audio_kept=row["kept_min"],
            )
            for row in grouped.sort_by("speaker").to_pylist()
        ]

    def enrolled(self, name: str, model_digest: str) -> Enrolled:
        """A speaker's recordings as `model_digest` sees them; none where the name is new."""
        name = speaker_name(name)
        with self._table.opened() as table:
            found = table.search().where(col("speaker") == lit(name))
            rows = found.select(["id", "vector", "speech_seconds", "model_digest"]).to_arrow()
        self._check_model(rows, model_digest)
        seconds = float(np.sum(rows["speech_seconds"].to_numpy()))
        return Enrolled(_matrix(rows), seconds, frozenset(rows["id"].to_pylist()))

    def reference(self, name: str, model_digest: str) -> Vector:
        """A speaker's reference embedding, float32 [D]: the mean of the recordings'."""
        vectors = self.enrolled(name, model_digest).vectors
        if not len(vectors):
            raise self._unknown(name)
        return mean_embedding(vectors)

    def nearest(self, vector: Vector, model_digest: str, top: int) -> list[Neighbour]:
        """The `top` speakers nearest to an embedding float32 [D], nearest first."""
        with self._table.opened() as table:
            references = self._read_references(table, model_digest)
        return references.nearest(vector, top)

    def _read_references(self, table: Any, model_digest: str) -> References:
        """Of the latest version; kept until there is a later one."""
        version = int(table.version)
        kept = self._references
        if kept is not None and kept[:2] == (version, model_digest):
            return kept[2]
        rows = table.search().select(["speaker", "vector", "model_digest"]).to_arrow()
        self._check_model(rows, model_digest)
        references = References(rows["speaker"].combine_chunks(), _matrix(rows))
        self._references = (version, model_digest, references)
        return references

    def forget(self, name: str) -> int:
        """Removes a speaker, and every byte of the speaker from the disk.

        Returns:
            How many recordings were removed.
        """
        name = speaker_name(name)
        with self._table.opened() as table:
            found = table.search().where(col("speaker") == lit(name))
            ids = found.select(["id"]).to_arrow()["id"].to_pylist()
        if not ids:
            raise self._unknown(name)
        self._table.erase(ids)
        self._references = None
        return len(ids)

    def stale(self, model_digest: str) -> Stale:
        """What has to be made again for a model."""
        columns = {"id": "id", "speaker": "speaker", "kept": "audio IS NOT NULL"}
        with self._table.opened() as table:
            found = table.search().where(col("model_digest") != lit(model_digest))
            rows = found.select(columns).to_arrow()
        kept, lost = rows.filter(rows["kept"]), rows.filter(pc.invert(rows["kept"]))
        return Stale(kept["id"].to_pylist(), sorted(set(lost["speaker"].to_pylist())))

    def kept_audio(self, ids: Sequence[str]) -> list[tuple[str, str, bytes]]:
        """Id, speaker and WAV of recordings whose audio was kept."""
        with self._table.opened() as table:
            found = table.search().where(col("id").isin(list(ids)))
            rows = found.select(["id", "speaker", "audio"]).to_arrow().to_pylist()
        return [(row["id"], row["speaker"], row["audio"]) for row in rows]

    def replace(self, embeddings: dict[str, Embedding]) -> None:
        """Writes another model's embeddings of recordings, by id, in one commit."""
        with self._table.opened() as table:
            found = table.search().where(col("id").isin(list(embeddings)))
            rows = found.select(SCHEMA.names).to_arrow().to_pylist()
            for row in rows:
                embedding = embeddings[row["id"]]
                row["vector"] = embedding.vector
                row["model_digest"] = embedding.model_digest
                row["speech_seconds"] = embedding.speech_seconds
            merge = table.merge_insert("id").when_matched_update_all()
            retried(merge.execute)(pa.Table.from_pylist(rows, schema=SCHEMA))
            self._table.compact(table)

    def _check_model(self, rows: Any, model_digest: str) -> None:
        others = set(pc.unique(rows["model_digest"]).to_pylist()) - {model_digest}
        if others:
            raise SwarError(
                f"the gallery {self.uri!r} was made with the model {min(others)}, and "
                f"{model_digest} is in use: their embeddings cannot be compared; run `swar "
                "reenroll`"
            )

    def _unknown(self, name: str) -> SwarError:
        return SwarError(
            f"nobody named {name!r} is in the gallery {self.uri!r}: `swar speakers` lists who is"
        )


def _matrix(rows: Any) -> Vector:
    """float32 [N, D] of the rows' vectors, which have one length."""
    if not len(rows):
        return np.zeros((0, 0), np.float32)
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in rows["vector"].chunks])
    matrix: Vector = flat.reshape(len(rows), -1)
    return matrix
