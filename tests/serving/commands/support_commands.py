"""What the tests of commands share."""

from collections.abc import Callable

LOW, HIGH = 110.0, 320.0
"""Pitches of two speakers, in Hz."""
OF_MODEL = ("app", "embed", "enrol", "enroll", "identify", "reenrol", "reenroll", "verify")
"""Commands that take --url."""
Swar = Callable[..., tuple[int, str, str]]
