"""The enrolled speakers, one row for each recording, and the search among them."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import col, lit

from components.errors import SwarError
from components.mean_embedding import mean_embedding
from serving.answers import Embedding, Vector
from serving.enrolled import Enrolled, EnrolledRecording, Enrolment, Speaker, Stale, recording_id
from serving.gallery_keys import GalleryKeys
from serving.gallery_ledger import Ledger
from serving.gallery_table import SCHEMA, GalleryTable, retried
from serving.references import Neighbour, References
from serving.speaker_names import name_to_enrol, similar_names, speaker_name

_ROWS_AT_ONCE: Final = 8  # kept audio may be many megabytes
_SHORTEST_ID: Final = 8


class Gallery:
    """Enrolled speakers. Safe to share between threads and processes.

    A recording that has expired is not found any more. `forget_expired` removes it.

    Args:
        uri: a folder, or a URI that LanceDB knows, such as `s3://bucket/gallery`.
        keys: seal the embeddings and recordings; None for a gallery that is not sealed.

    Raises:
        SwarError: in all methods, if the user can correct it; the message says how.
    """

    def __init__(self, uri: str | os.PathLike[str], keys: GalleryKeys | None = None) -> None:
        self.uri = os.fspath(uri)
        if not self.uri:
            raise SwarError("the gallery's name is empty: name a folder, or a URI")
        self._table = GalleryTable(self.uri)
        self._keys = keys or GalleryKeys()
        self.ledger = Ledger(self.uri)
        """Who must not be enrolled, and what has been done."""
        self._references: _CachedReferences | None = None

    def exists(self) -> bool:
        """Whether a speaker was ever enrolled here."""
        return self._table.exists()

    def similar_names(self, name: str) -> list[str]:
        """Enrolled speakers whose name a reader may mistake for this one."""
        return similar_names(speaker_name(name), set(self.names())) if self.exists() else []

    def names(self) -> list[str]:
        """The enrolled speakers' names, in order, without reading anything else of them."""
        rows = _live(self._read(["speaker", "expires_at"]))
        return sorted(pc.unique(rows["speaker"]).to_pylist())

    def enroll(
        self,
        name: str,
        enrolments: Sequence[Enrolment],
        *,
        keep_audio: bool,
        consent: str = "",
        expires_at: datetime | None = None,
        actor: str = "",
        compared_with: Collection[str] | None = None,
        known_similar: Collection[str] | None = None,
    ) -> int:
        """Adds recordings of a speaker, all or none; one that is enrolled stays as it is.

        Args:
            name: the speaker's.
            enrolments: the recordings.
            keep_audio: whether the recordings are kept too.
            consent: how the speaker gave it.
            expires_at: with a time zone; from then on the recordings are not used any more.
            actor: who enrols, for the ledger.
            compared_with: ids of all recordings of the speaker that the caller knew of; None if it
                did not look.
            known_similar: the speakers of similar names, likewise.

        Returns:
            How many were added.

        Raises:
            SwarError: the speaker has opted out, perhaps meanwhile; the name looks like an answer
                such as "unknown"; or since the caller looked, another caller has enrolled the
                speaker or one of a similar name.
        """
        name = name_to_enrol(name)
        self.ledger.check_may_enrol(name)
        if self.exists():
            # Else an expired recording would count as one that is there already.
            self._forget_expired(actor)
        enrolled_at = datetime.now(UTC)
        of_all = {
            "speaker": name,
            "consent": consent.encode(errors="backslashreplace"),  # an argument may be no UTF-8
            "enrolled_at": enrolled_at,
            "expires_at": expires_at,
        }
        rows = [
            self._keys.seal_row(
                {
                    **of_all,
                    "id": recording_id(name, each.wav),
                    "source": each.source.encode(),
                    "audio": each.wav if keep_audio else None,
                    **_columns_of(each.embedding),
                }
            )
            for each in enrolments
        ]
        ids = [row["id"] for row in rows]
        with self._table.opened(create=True, alone=True) as table:
            present = table.search().select(["model_digest"]).to_arrow()
            for each in enrolments:
                self._check_some_fit(present, each.embedding.model_digest)
            self._check_key(table)
            merge = table.merge_insert("id").when_not_matched_insert_all()
            done = retried(merge.execute, pa.Table.from_pylist(rows, schema=SCHEMA))
        try:
            # `opt_out` refuses before it forgets: if it came after the check above, it may have
            # looked for the speaker's recordings before these were there.
            self.ledger.check_may_enrol(name)
            # Of two concurrent enrolments, at least the later one sees the other here.
            if compared_with is not None:
                self._check_no_others(name, {*compared_with, *ids})
            if known_similar is not None:
                self._check_none_similar(name, known_similar)
        except SwarError:
            self._withdraw(ids, enrolled_at)
            raise
        with self._table.opened() as table:
            self._table.compact(table)
        added = int(done.num_inserted_rows)
        self.ledger.record("enrol", name, added, actor)
        return added

    def speakers(self) -> list[Speaker]:
        """All speakers, by name."""
        grouped: dict[str, list[EnrolledRecording]] = {}
        for speaker, recording in self._recordings():
            grouped.setdefault(speaker, []).append(recording)
        return [Speaker.of(name, recordings) for name, recordings in sorted(grouped.items())]

    def recordings(self, name: str) -> list[EnrolledRecording]:
        """A speaker's recordings, in the order in which they were enrolled."""
        name = speaker_name(name)
        found = [recording for speaker, recording in self._recordings(name) if speaker == name]
        if not found:
            raise self._unknown(name)
        return found

    def _recordings(self, name: str | None = None) -> list[tuple[str, EnrolledRecording]]:
        """Recordings with their speakers, by time and id, without expired ones."""
        columns = {each: each for each in SCHEMA.names if each not in ("vector", "audio")}
        rows = self._read(
            columns | {"kept": "audio IS NOT NULL"},
            None if name is None else col("speaker") == lit(name),
        )
        return [
            (
                row["speaker"],
                EnrolledRecording(
                    id=row["id"],
                    source=self._keys.open_column(row, "source").decode(),
                    speech_seconds=row["speech_seconds"],
                    enrolled_at=row["enrolled_at"],
                    expires_at=row["expires_at"],
                    audio_kept=row["kept"],
                    consent=self._keys.open_column(row, "consent").decode(),
                    bandwidth_hz=row["bandwidth_hz"],
                ),
            )
            for row in _live(rows)
            .sort_by([("enrolled_at", "ascending"), ("id", "ascending")])
            .to_pylist()
        ]

    def enrolled(self, name: str, model_digest: str) -> Enrolled:
        """A speaker's recordings, embedded by this model; none if the name is new."""
        name = speaker_name(name)
        columns = ["id", "vector", "speech_seconds", "model_digest", "expires_at"]
        rows = _live(self._read(columns, col("speaker") == lit(name)))
        self._check_model(rows, model_digest)
        seconds = float(np.sum(rows["speech_seconds"].to_numpy()))
        return Enrolled(self._matrix(rows), seconds, frozenset(rows["id"].to_pylist()))

    def reference(self, name: str, model_digest: str) -> Vector:
        """A speaker's reference embedding, float32 [D]: the mean of the recordings'."""
        vectors = self.enrolled(name, model_digest).vectors
        if not len(vectors):
            raise self._unknown(name)
        return mean_embedding(vectors)

    def nearest(
        self,
        vector: Vector,
        model_digest: str,
        top: int,
        among: Collection[str] | None = None,
    ) -> list[Neighbour]:
        """The `top` speakers nearest to an embedding, nearest first.

        Recordings that another model embedded are left out, see `speakers_of_other_models`.

        Args:
            vector: float32 [D], of the query.
            model_digest: of the model that embedded it.
            top: how many speakers at most.
            among: names, as `speaker_name` returns them, of the only speakers to compare with;
                None for all.

        Raises:
            SwarError: another model embedded all of them.
        """
        with self._table.opened() as table:
            cached = self._read_references(table, model_digest)
        if among is not None and set(among) <= set(cached.speakers_left_out):
            named = self._read(["model_digest"], col("speaker").isin(list(among)))
            self._check_model(named, model_digest)
        return cached.references.nearest(vector, top, among)

    def speakers_of_other_models(self, model_digest: str) -> tuple[str, ...]:
        """Names of the speakers without a recording that the model embedded, in order."""
        with self._table.opened() as table:
            return self._read_references(table, model_digest).speakers_left_out

    def bandwidths_hz(self, name: str) -> list[float]:
        """Known bandwidths of a speaker's recordings, in no order."""
        own = col("speaker") == lit(speaker_name(name))
        rows = _live(self._read(["bandwidth_hz", "expires_at"], own))
        return [hertz for hertz in rows["bandwidth_hz"].to_pylist() if hertz is not None]

    def _read_references(self, table: Any, model_digest: str) -> "_CachedReferences":
        """References of the latest version, kept until it changes or a recording expires."""
        version = (int(table.version), self._table.identity())
        kept = self._references
        if (
            kept is not None
            and (kept.version, kept.model_digest) == (version, model_digest)
            and (kept.until is None or datetime.now(UTC) < kept.until)
        ):
            return kept
        columns = ["id", "speaker", "vector", "model_digest", "expires_at"]
        rows = _live(table.search().select(columns).to_arrow())
        self._check_some_fit(rows, model_digest)
        fitting = rows.filter(pc.equal(rows["model_digest"], model_digest))
        references = References(fitting["speaker"].combine_chunks(), self._matrix(fitting))
        until = pc.min(rows["expires_at"]).as_py()
        left_out = set(rows["speaker"].to_pylist()) - set(fitting["speaker"].to_pylist())
        self._references = _CachedReferences(
            version, model_digest, until, references, tuple(sorted(left_out))
        )
        return self._references

    def forget(self, name: str, *, recording: str | None = None, actor: str = "") -> int:
        """Removes a speaker, or one recording of a speaker, and every byte of it from the disk.

        Args:
            name: the speaker's.
            recording: an id, or its first eight characters or more; None for all.
            actor: who does it, for the ledger.

        Returns:
            How many recordings were removed.

        Raises:
            SwarError: there is none; what an interrupted call has left is still removed.
        """
        name = speaker_name(name)
        ids = self._read(["id"], col("speaker") == lit(name))["id"].to_pylist()
        if not ids:
            self._erase([])
            raise self._unknown(name)
        if recording is not None:
            ids = [each for each in ids if each.startswith(recording.lower())]
            if len(recording) < _SHORTEST_ID or len(ids) != 1:
                self._erase([])
                raise SwarError(
                    f"{recording!r} is no recording of {name!r}: `swar speakers NAME` lists them"
                )
        self._erase(ids)
        self.ledger.record("forget", name, len(ids), actor)
        return len(ids)

    def forget_expired(self) -> int:
        """Removes the recordings that have expired, as `forget` does; returns how many."""
        removed = self._forget_expired("")
        if not removed:
            self._erase([])  # what an interrupted call has left
        return removed

    def _forget_expired(self, actor: str) -> int:
        rows = self._read(["id", "speaker", "expires_at"])
        expired = rows.filter(pc.invert(_is_live(rows)))
        if len(expired):
            self._erase(expired["id"].to_pylist())
        for name, count in sorted(Counter(expired["speaker"].to_pylist()).items()):
            self.ledger.record("expire", name, count, actor)
        return len(expired)

    def opt_out(self, name: str) -> list[str]:
        """Refuses enrolments under a name, and forgets speakers of it or of one that looks like it.

        Returns:
            The names of the speakers who were forgotten, in order.
        """
        name = speaker_name(name)
        self.ledger.opt_out(name)
        if not self.exists():
            return []
        rows = self._read(["id", "speaker"])
        names = [name, *similar_names(name, set(rows["speaker"].to_pylist()))]
        rows = rows.filter(pc.is_in(rows["speaker"], pa.array(names)))
        self._erase(rows["id"].to_pylist())
        forgotten = sorted(Counter(rows["speaker"].to_pylist()).items())
        for speaker, count in forgotten:
            self.ledger.record("forget", speaker, count)
        return [speaker for speaker, _ in forgotten]

    def _erase(self, ids: list[str]) -> None:
        """Removes recordings, possibly none, and what an interrupted call has left."""
        self._table.erase(ids)
        self._references = None

    def _withdraw(self, ids: Collection[str], enrolled_at: datetime) -> None:
        """Erases what one enrolment added, but not what another one has added meanwhile."""
        rows = self._read(["id", "enrolled_at"], col("id").isin(list(ids)))
        own = pc.equal(rows["enrolled_at"], pa.scalar(enrolled_at, rows["enrolled_at"].type))
        self._erase(rows.filter(own)["id"].to_pylist())

    def stale(self, model_digest: str) -> Stale:
        """The recordings to embed again for a model."""
        columns = {name: name for name in ("id", "speaker", "expires_at")}
        columns["kept"] = "audio IS NOT NULL"
        rows = _live(self._read(columns, col("model_digest") != lit(model_digest)))
        kept, lost = rows.filter(rows["kept"]), rows.filter(pc.invert(rows["kept"]))
        return Stale(kept["id"].to_pylist(), sorted(set(lost["speaker"].to_pylist())))

    def kept_audio(self, ids: Sequence[str]) -> list[tuple[str, str, bytes]]:
        """Id, speaker and WAV of recordings whose audio was kept."""
        rows = self._read(["id", "speaker", "audio"], col("id").isin(list(ids))).to_pylist()
        return [(row["id"], row["speaker"], self._keys.open_column(row, "audio")) for row in rows]

    def replace(self, embeddings: dict[str, Embedding]) -> None:
        """Writes another model's embeddings of recordings, by id, in one commit."""
        with self._table.opened() as table:
            found = table.search().where(col("id").isin(list(embeddings)))
            rows = found.select(SCHEMA.names).to_arrow().to_pylist()
            for row in rows:
                made = {"id": row["id"], **_columns_of(embeddings[row["id"]])}
                row |= self._keys.seal_row(made)
            self._write(table, rows)
            self._table.compact(table)

    def seal(self) -> int:
        """Seals everything with the first of the keys, and removes what was there before.

        It may have been sealed with another of the keys, or not at all. After an interruption,
        call it again.

        Returns:
            How many recordings were sealed.
        """
        with self._table.opened(alone=True) as table:
            ids = table.search().select(["id"]).to_arrow()["id"].to_pylist()
            for first in range(0, len(ids), _ROWS_AT_ONCE):
                found = table.search().where(col("id").isin(ids[first : first + _ROWS_AT_ONCE]))
                rows = found.select(SCHEMA.names).to_arrow().to_pylist()
                self._write(table, [self._keys.reseal_row(row) for row in rows])
            self._table.clean(table)
        self._references = None
        self.ledger.record("seal", "", len(ids))
        return len(ids)

    def _read(self, columns: Sequence[str] | Mapping[str, str], where: Any = None) -> Any:
        """Columns of all rows, or of those that meet a condition."""
        with self._table.opened() as table:
            found = table.search() if where is None else table.search().where(where)
            return found.select(columns).to_arrow()

    def _write(self, table: Any, rows: list[dict[str, Any]]) -> None:
        merge = table.merge_insert("id").when_matched_update_all()
        retried(merge.execute, pa.Table.from_pylist(rows, schema=SCHEMA))

    def _matrix(self, rows: Any) -> Vector:
        """The rows' vectors, float32 [N, D]; raises SwarError if their lengths differ."""
        if not len(rows):
            return np.zeros((0, 0), np.float32)
        opened = [
            self._keys.open_column(row, "vector")
            for row in rows.select(["id", "vector"]).to_pylist()
        ]
        if len(set(map(len, opened))) != 1:
            raise SwarError(f"the gallery {self.uri!r} is damaged: its embeddings differ in length")
        matrix: Vector = np.frombuffer(b"".join(opened), "<f4").reshape(len(opened), -1)
        return matrix

    def _check_key(self, table: Any) -> None:
        """Raises SwarError if the rows that exist were sealed otherwise."""
        for row in table.search().select(["id", "consent"]).limit(1).to_arrow().to_pylist():
            self._keys.open_column(row, "consent")

    def _check_no_others(self, name: str, ids: Collection[str]) -> None:
        """Raises SwarError if a speaker has recordings of other ids."""
        own = self._read(["id"], col("speaker") == lit(name))["id"].to_pylist()
        if not set(own) <= set(ids):
            raise SwarError(
                f"{name!r} was enrolled by somebody else meanwhile: enrol again, so that the "
                "recordings are compared with those"
            )

    def _check_none_similar(self, name: str, known: Collection[str]) -> None:
        """Raises SwarError if a speaker not in `known` has a name that looks like this one."""
        for other in self.similar_names(name):
            if other not in known:
                raise SwarError(
                    f"{name!r} looks like {other!r}, whom somebody else enrolled meanwhile: enrol "
                    "again, under that name or another"
                )

    def _check_some_fit(self, rows: Any, model_digest: str) -> None:
        """Raises SwarError if there are recordings and other models embedded all of them."""
        if model_digest not in pc.unique(rows["model_digest"]).to_pylist():
            self._check_model(rows, model_digest)

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
            f"nobody named {name!r} is in the gallery {self.uri!r}", "`swar speakers` lists who is"
        )


@dataclass(frozen=True)
class _CachedReferences:
    version: tuple[int, tuple[int, int] | None]
    """The table's version and identity."""
    model_digest: str
    until: datetime | None
    """When the first recording expires."""
    references: References
    speakers_left_out: tuple[str, ...]
    """Whose recordings other models embedded."""


def _columns_of(embedding: Embedding) -> dict[str, Any]:
    """What a row holds of an embedding."""
    return {
        "vector": embedding.vector.astype("<f4").tobytes(),
        "model_digest": embedding.model_digest,
        "speech_seconds": embedding.speech_seconds,
        "bandwidth_hz": embedding.quality and embedding.quality.bandwidth_hz,
    }


def _is_live(rows: Any) -> Any:
    now = pa.scalar(datetime.now(UTC), rows["expires_at"].type)
    return pc.fill_null(pc.greater(rows["expires_at"], now), True)


def _live(rows: Any) -> Any:
    """Rows that have not expired."""
    return rows.filter(_is_live(rows))
