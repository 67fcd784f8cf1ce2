"""Which recordings of a training a user's path means."""

import functools
import os
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from components.errors import SwarError

# The end of a cut's name, where its manifest has no names and paths are used.
_CUT = re.compile(r"#[\d.]*-[\d.]*$")


class RecordingQuery:
    """A recording, or everything in a folder.

    Paths are compared as written and with their links followed, URIs as written. Accents may be
    decomposed, as a Mac writes them.

    Args:
        name: path or URI of a file or a folder, or the name of a recording below its data.
    """

    def __init__(self, name: str) -> None:
        self._name = _composed(name)
        self._places_of = functools.cache(_places)
        self._own_places = _places(name)

    def among(
        self, recordings: Iterable[dict[str, Any]], rejects: Iterable[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The recordings that match, or have a duplicate that matches.

        Args:
            recordings: rows of `recordings.jsonl`.
            rejects: rows of `rejects.jsonl`.

        Raises:
            SwarError: an earlier version of Swar wrote the rejects.
        """
        rows = list(recordings)
        kept = {row["recording"]: row for row in rows}
        meant = {row["recording"] for row in rows if self._is(row["recording"], row["path"])}
        for reject in rejects:
            if "same_as" not in reject:
                raise SwarError(
                    "the rejects were written by another version of swar, which does not say what "
                    "a duplicate is the same as: train anew"
                )
            row = kept.get(reject["same_as"])
            if row is not None and self._is(reject["file"], _path(reject["file"], row)):
                meant.add(row["recording"])
        return [row for row in rows if row["recording"] in meant]

    def _is(self, name: str, path: str | None) -> bool:
        if _composed(name) == self._name:
            return True
        places = frozenset() if path is None else self._places_of(path)
        return any(
            place == own or place.startswith(f"{own.rstrip('/')}/")
            for place in places
            for own in self._own_places
        )


def _places(path: str) -> frozenset[str]:
    if _is_uri(path):
        return frozenset({_composed(path.rstrip("/"))})
    return frozenset({_composed(os.path.abspath(path)), _composed(os.path.realpath(path))})


def _path(name: str, kept: dict[str, Any]) -> str | None:
    """The path of a duplicate, from its name and from the kept recording's name and path.

    None if names do not follow from paths, as in a manifest with names of its own.
    """
    name, kept_name = _CUT.sub("", name), _CUT.sub("", kept["recording"])
    if _is_uri(name) or os.path.isabs(name):
        return name
    if kept["path"].endswith(f"/{kept_name}"):
        return os.path.join(kept["path"].removesuffix(kept_name), name)
    return None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _is_uri(path: str) -> bool:
    return "://" in path
