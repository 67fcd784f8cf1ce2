"""The one error that a user can cause and mend, and texts of names and reasons for it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_NAMES_SHOWN: Final = 10


class SwarError(Exception):
    """A fault of the input, the settings or the machine, in one line.

    The message names the fault and the remedy; the command line prints it
    without a traceback and exits with status 2.

    Attributes:
        fault: the message without the remedy at the command line.
    """

    def __init__(self, fault: str, command: str = "") -> None:
        """Makes the error.

        Args:
            fault: what is wrong, and the remedy if it works everywhere.
            command: the remedy at the command line, which a page leaves out.
        """
        super().__init__(f"{fault}: {command}" if command else fault)
        self.fault = fault


def first_names(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def count_reasons(reasons: Iterable[str] | Mapping[str, int]) -> str:
    """A text such as `2 silent, 1 too_short`, the commonest first, of reasons or their counts."""
    counts = Counter(reasons).most_common()
    return ", ".join(f"{count:,} {reason}" for reason, count in counts)
