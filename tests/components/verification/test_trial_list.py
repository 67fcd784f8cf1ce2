"""Trial lists as users have them."""

import pytest

from components.errors import SwarError
from components.verification.trials import ListedTrial, parse_trial_list

EXPECTED = [
    ListedTrial(1, 1, "id10270/x/1.wav", "id10270/y/2.wav"),
    ListedTrial(2, 0, "id10270/x/1.wav", "id10300/z/1.wav"),
]


@pytest.mark.parametrize(
    "text",
    [
        "1 id10270/x/1.wav id10270/y/2.wav\n0 id10270/x/1.wav id10300/z/1.wav\n",
        "id10270/x/1.wav id10270/y/2.wav 1\nid10270/x/1.wav id10300/z/1.wav 0",
        "1 id10270/x/1.wav id10270/y/2.wav  \t \r\n\t0 id10270/x/1.wav id10300/z/1.wav\t\r\n",
        "1\tid10270/x/1.wav\tid10270/y/2.wav\t\t\r\n\u00a00 id10270/x/1.wav id10300/z/1.wav\n",
        "1\tid10270/x/1.wav\tid10270/y/2.wav\r\n0  id10270/x/1.wav   id10300/z/1.wav \r\n\r\n",
    ],
)
def test_both_orders_are_read(text):
    assert parse_trial_list(text, "list") == EXPECTED


def test_tabs_let_names_have_blanks():
    parsed = parse_trial_list("\n1\tasha rai/a 1.wav\tasha rai/a 2.wav\n", "list")
    assert parsed == [ListedTrial(2, 1, "asha rai/a 1.wav", "asha rai/a 2.wav")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "list holds no trial"),
        ("\n \n", "list holds no trial"),
        ("1 a/1.wav\n", "list line 1: has 2 fields"),
        ("1 a/1.wav a/2.wav\n1 a/1 one.wav a/2.wav\n", "list line 2: has 4 fields"),
        ("1\ta/1.wav\t\n", "list line 1: has 2 fields"),
        ("1\ta/1.wav b/2.wav\n", "list line 1: has 2 fields"),
        ("same a/1.wav a/2.wav\n", "list line 1: the first field or the last must be the label"),
        ("1 a/1.wav 0\n", "list line 1: the first field or the last must be the label"),
        ("1 a/1.wav a/2.wav\n\n2 a/1.wav b/2.wav\n", "list line 3: the label must be 1 or 0"),
        ("1 a/1.wav a/2.wav\na/1.wav b/2.wav 0\n", "list line 2: the label must be 1 or 0"),
        ("1 a/1.wav a/1.wav\n", "list line 1: compares 'a/1.wav' with itself"),
    ],
)
def test_a_bad_line_is_named(text, told):
    with pytest.raises(SwarError, match=told):
        parse_trial_list(text, "list")


def test_lines_end_at_line_ends_alone():
    """Names hold what `str.splitlines` divides at too; a lone CR is how old Macs ended lines."""
    name = "asha\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1erai/1.wav"
    parsed = parse_trial_list(f"1\t{name}\tb.wav\r0\t{name}\tc.wav\r\n1\tb.wav\tc.wav\n", "list")
    assert [(trial.line, trial.enrolment, trial.test) for trial in parsed] == [
        (1, name, "b.wav"),
        (2, name, "c.wav"),
        (3, "b.wav", "c.wav"),
    ]
