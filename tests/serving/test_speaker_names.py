"""Names that nobody can tell apart, or cannot see, are refused or told."""

import pytest

from components.errors import SwarError
from serving.speaker_names import name_to_enrol, similar_names, speaker_name


@pytest.mark.parametrize(
    "name",
    [
        "A\u200c",
        "A\u200cB",
        "A\u200dB",
        "\u200cA",
        "क\u200dष",  # no virama
        "क्\u200d",  # nothing to join
        "علی\u200c",
        "a\u200bb",
        "a\u2060b",
        "a\ufeffb",
        "a\u00adb",
        "a\u034fb",
        "a\u3164b",
        "\u2800",
        "a\ufe0f",
        "a\U000e0100",
        "a\u180eb",
        "a\U000e0041b",
    ],
)
def test_what_is_not_seen_is_refused(name):
    with pytest.raises(SwarError, match=r"has the invisible character U\+[0-9A-F]{4,5}: leave it"):
        speaker_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "क्\u200dष",
        "श्री\u0020राम",
        "ക്\u200cഷ",
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        "葛\U000e0100城",
        "❤\ufe0f Sita",
        "Zoë",
    ],
)
def test_what_scripts_need_is_not(name):
    assert speaker_name(name) == name


def test_spaces_are_one_kind_and_single():
    assert speaker_name(" Asha \u00a0\u2003 Rai ") == "Asha Rai"


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("asha rai", "Asha Rai"),
        ("\u0410sha Rai", "Asha Rai"),  # Cyrillic A
        ("\u0391sha Rai", "Asha Rai"),  # Greek
        ("\uff21sha Rai", "Asha Rai"),  # full width
        ("Asha Ra\u0131", "Asha Rai"),  # dotless
        ("Ram 1", "Ram l"),
        ("Ram 0", "Ram O"),
        ("AI", "Al"),
        ("Hom", "Horn"),
        ("क्ष", "क्\u200dष"),
        ("ﬁ", "fi"),
        ("Straße", "STRASSE"),
    ],
)
def test_names_that_look_alike_are_told(name, like):
    others = ["Somebody Else", like]
    assert similar_names(speaker_name(name), others) == [like]
    assert similar_names(speaker_name(like), [name]) == [name]


@pytest.mark.parametrize(
    ("name", "other"),
    [("Asha Rai", "Asha Ray"), ("Zoë", "Zoe"), ("Ram 1", "Ram 2"), ("राम", "श्याम"), ("a", "b")],
)
def test_other_names_are_not(name, other):
    assert similar_names(name, [name, other]) == []


@pytest.mark.parametrize(
    "name", ["unknown", "Unknown ", "UNKNOWN", "unkn\u043ewn", "inconclusive", "Inconclusive"]
)
def test_the_answers_that_it_is_nobody_are_no_names_to_enrol(name: str) -> None:
    with pytest.raises(SwarError, match=r"is what `swar identify` answers .*: give another one"):
        name_to_enrol(name)
    assert speaker_name(name)  # one who has it already can be forgotten


def test_a_name_with_such_a_word_in_it_can_be_enrolled() -> None:
    assert name_to_enrol("unknown soldier") == "unknown soldier"
    assert name_to_enrol("Asha  Rai") == "Asha Rai"
