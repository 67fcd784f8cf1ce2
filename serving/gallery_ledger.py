"""Who must not be enrolled, and what was done to a gallery; without names and without embeddings.

A name is stored as hashes with a salt of its own: a given name can be looked up, but the list names
no one by itself. A person who has the gallery can check guessed names.
"""

import getpass
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from components.errors import SwarError
from serving.gallery_table import GalleryTable
from serving.speaker_names import name_keys, speaker_name

_HASHED: Final = [("salt", pa.binary()), ("keys", pa.list_(pa.binary()))]
_OPTED_OUT: Final = pa.schema([("id", pa.string()), ("at", pa.timestamp("us", tz="UTC")), *_HASHED])
_EVENTS: Final = pa.schema(
    [
        ("at", pa.timestamp("us", tz="UTC")),
        ("action", pa.string()),
        ("recordings", pa.int64()),
        ("actor", pa.string()),
        *_HASHED,
    ]
)


@dataclass(frozen=True)
class Event:
    """Something that was done to the gallery."""

    at: datetime
    action: str
    """enrol, forget, expire, seal, reenrol, opt-out or opt-in."""
    recordings: int
    """How many were affected."""
    actor: str
    """Who did it: a user of the page or of the machine."""


class Ledger:
    """Of one gallery. All methods raise SwarError if the user can correct it."""

    def __init__(self, uri: str) -> None:
        self._opted_out = GalleryTable(uri, "opted_out", _OPTED_OUT)
        self._events = GalleryTable(uri, "events", _EVENTS)

    def check_may_enrol(self, name: str) -> None:
        """Raises SwarError if a speaker of that name, or of one that looks like it, opted out."""
        if self._refusals(name):
            raise SwarError(
                f"{name!r} has opted out and is not enrolled",
                "`swar opt-out NAME --undo` if they have changed their mind",
            )

    def opt_out(self, name: str) -> None:
        """Refuses enrolments under a name and under names that a reader may mistake for it."""
        name = speaker_name(name)
        if not self._refusals(name):
            row = {"id": secrets.token_hex(16), "at": datetime.now(UTC), **_hashed(name)}
            self._opted_out.append(row)
        self.record("opt-out", name, 0)

    def opt_in(self, name: str) -> None:
        """Revokes an opt-out.

        Raises:
            SwarError: there is none.
        """
        name = speaker_name(name)
        ids = self._refusals(name)
        if not ids:
            raise SwarError(f"nobody named {name!r} has opted out")
        self._opted_out.erase(ids)
        self.record("opt-in", name, 0)

    def record(self, action: str, name: str, recordings: int, actor: str = "") -> None:
        """Writes down what was done.

        Args:
            action: see Event.
            name: the speaker's; empty if it is about all.
            recordings: how many.
            actor: who did it; empty for the user of this machine.
        """
        row = {
            "at": datetime.now(UTC),
            "action": action,
            "recordings": recordings,
            "actor": actor or _machine_user(),
            **_hashed(name),
        }
        self._events.append(row)

    def events(self, name: str | None = None) -> list[Event]:
        """The events in order, all of them or those about a name."""
        rows = self._events.rows()
        if name is not None:
            name = speaker_name(name)
            rows = [row for row in rows if _is_of(row, name)]
        found = [Event(row["at"], row["action"], row["recordings"], row["actor"]) for row in rows]
        return sorted(found, key=lambda event: event.at)

    def _refusals(self, name: str) -> list[str]:
        return [row["id"] for row in self._opted_out.rows() if _is_of(row, name)]


def _hashed(name: str) -> dict[str, Any]:
    salt = secrets.token_bytes(16)
    return {"salt": salt, "keys": sorted(_digest(key, salt) for key in name_keys(name))}


def _is_of(row: dict[str, Any], name: str) -> bool:
    return bool(set(row["keys"]) & {_digest(key, row["salt"]) for key in name_keys(name)})


def _digest(key: str, salt: bytes) -> bytes:
    return hmac.digest(salt, key.encode(), hashlib.sha256)


def _machine_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
