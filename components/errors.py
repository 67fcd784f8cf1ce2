"""The one error that a user can cause and mend, and names and reasons in its line."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_NAMES_SHOWN: Final = 10


class SwarError(Exception):
    """A fault of the input, the settings or the machine, in one line.

    The message names the thing and the remedy; the command line prints it
    without a traceback and exits with status 2.

    Attributes:
        fault: the message without what only the command line can do about it.
    """

    def __init__(self, fault: str, command: str = "") -> None:
        """Makes the error.

        Args:
            fault: what is wrong, and the remedy where it is one everywhere.
            command: the remedy at the command line; a page leaves it out.
        """
        super().__init__(f"{fault}: {command}" if command else fault)
        self.fault = fault


def first_names(names: Sequence[str]) -> str:
    """The first ten of names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def count_reasons(reasons: Iterable[str] | Mapping[str, int]) -> str:
    """`2 silent, 1 too_short`, the commonest first: of every recording, or counted already."""
    counts = Counter(reasons).most_common()
    return ", ".join(f"{count:,} {reason}" for reason, count in counts)
