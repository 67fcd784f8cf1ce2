"""Speakers' names: which are refused, and which look the same to a reader."""

import functools
import unicodedata
from collections.abc import Iterable
from typing import Final

from confusable_homoglyphs.confusables import confusables_data

from components.errors import SwarError

_MAX_CHARACTERS: Final = 200
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")
_NON_JOINER, _JOINER = "\u200c", "\u200d"
# Answers of an identification instead of a name.
_ANSWERS: Final = ("unknown", "inconclusive")
_VIRAMA: Final = 9  # its canonical combining class
# Scripts whose letters are joined, so that a non-joiner is visible.
_JOINED_SCRIPTS: Final = ("ARABIC", "SYRIAC", "MONGOLIAN", "MANDAIC", "NKO", "ADLAM")
# Invisible, though of category Lo, Mn or So.
_BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def speaker_name(text: str) -> str:
    """A name as the gallery writes it, Unicode NFC, with single spaces and none at its ends.

    Raises:
        SwarError: it is empty, too long, or has invisible characters. The joiners U+200C and U+200D
            are visible after a virama, and U+200C between letters that are joined (RFC 5892,
            appendices A.1 and A.2); elsewhere they are refused too.
    """
    name = unicodedata.normalize("NFC", text).strip()
    for at, char in enumerate(name):
        if _is_invisible(char) and not (_is_seen_joiner(name, at) or _is_seen_variant(name, at)):
            raise SwarError(
                f"the name {text!r} has the invisible character U+{ord(char):04X}: leave it out"
            )
    name = " ".join(name.split())
    if not 1 <= len(name) <= _MAX_CHARACTERS:
        raise SwarError(f"a name of {len(name)} characters: give one of 1 to {_MAX_CHARACTERS}")
    return name


def name_to_enrol(text: str) -> str:
    """As `speaker_name`, for a name to give to a speaker.

    Raises:
        SwarError: also if a reader may take it for an answer without a speaker, such as "unknown".
    """
    name = speaker_name(text)
    for answer in _ANSWERS:
        if name_keys(name) & name_keys(answer):
            raise SwarError(
                f"the name {name!r} is what `swar identify` answers where no speaker is "
                f"recognised, {answer!r}: give another one"
            )
    return name


def similar_names(name: str, others: Iterable[str]) -> list[str]:
    """The other names that a reader may take for a name, sorted, without the name itself."""
    own = name_keys(name)
    return sorted(other for other in others if other != name and own & name_keys(other))


def name_keys(name: str) -> frozenset[str]:
    """Two keys, of which names that are taken for one another share at least one.

    One is the name without case and compatibility forms. The other is its skeleton by Unicode's
    confusables (UTS 39), in which Cyrillic and Latin letters that look alike are one.
    """
    plain = "".join(char for char in unicodedata.normalize("NFKC", name) if not _is_invisible(char))
    folded = unicodedata.normalize("NFKC", plain.casefold())
    return frozenset({f"read {folded}", f"seen {_skeleton(plain)}"})


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in _INVISIBLE or char in _BLANKS or _is_variation(char)


def _is_variation(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def _is_seen_variant(name: str, at: int) -> bool:
    """Only symbols and Chinese characters have variants."""
    if not _is_variation(name[at]) or at == 0:
        return False
    before = name[at - 1]
    return unicodedata.category(before) == "So" or unicodedata.name(before, "").startswith(
        "CJK UNI"
    )


def _is_seen_joiner(name: str, at: int) -> bool:
    if name[at] not in (_NON_JOINER, _JOINER) or not 0 < at < len(name) - 1:
        return False
    if unicodedata.combining(name[at - 1]) == _VIRAMA:
        return True
    neighbours = (unicodedata.name(name[near], "") for near in (at - 1, at + 1))
    return name[at] == _NON_JOINER and all(near.startswith(_JOINED_SCRIPTS) for near in neighbours)


def _skeleton(name: str) -> str:
    prototypes = _prototypes()
    shown = "".join(prototypes.get(char, char) for char in unicodedata.normalize("NFD", name))
    # Again without case: prototypes may differ in nothing but case.
    return unicodedata.normalize("NFD", shown).casefold()


@functools.cache
def _prototypes() -> dict[str, str]:
    """What replaces each character in a skeleton: the library's pairs, joined into groups."""
    leaders: dict[str, str] = {}

    def leader(text: str) -> str:
        while leaders.setdefault(text, text) != text:
            text = leaders[text]
        return text

    for text, alike in sorted(confusables_data.items()):
        for other in alike:
            # The longest stands for the group: only single characters can be replaced, not "rn".
            first, second = leader(text), leader(other["c"])
            keeps, joins = sorted((first, second), key=lambda each: (-len(each), each))
            leaders[joins] = keeps
    return {text: leader(text) for text in leaders if len(text) == 1}
