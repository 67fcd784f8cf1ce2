import csv
import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import SwarError
from components.recordings.tables import parse_manifest, parse_speakers

cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
filled = cell.filter(lambda text: bool(text.strip()))
row = st.tuples(
    filled, filled, st.floats(0, 1e6), st.floats(1e-3, 1e6), cell.map(str.strip), st.booleans()
)


def speaker_of(written: str) -> str:
    return unicodedata.normalize("NFC", written).strip()


@given(rows=st.lists(row, min_size=1, max_size=6), tabs=st.booleans())
@settings(max_examples=100)
def test_manifest_round_trip(
    rows: list[tuple[str, str, float, float, str, bool]], tabs: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_ALL)
    writer.writerow(["speaker", "other", "path", "recording", "end_seconds", "start_seconds"])
    expected = {}
    for path, speaker, start, seconds, recording, cut in rows:
        end = start + seconds
        times = (repr(end), repr(start)) if cut else ("", "")
        name = recording or (f"{path}#{start!r}-{end!r}" if cut else path)
        if name not in expected:
            expected[name] = (
                path,
                speaker_of(speaker),
                start if cut else None,
                end if cut else None,
            )
            writer.writerow([speaker, "x", path, recording, *times])
    parsed = parse_manifest(text.getvalue(), "m.tsv" if tabs else "m.csv")
    assert expected == {
        item.recording: (item.path, item.speaker, item.start_seconds, item.end_seconds)
        for item in parsed
    }
    assert {item.gender for item in parsed} == {"unknown"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,gender\na,f\n", "m.csv line 1: column speaker must be there once"),
        ("", "m.csv line 1: column path must be there once, found nothing"),
        ("path,path,speaker\na,b,c\n", "line 1: column path must be there once"),
        ("path,speaker\n", "m.csv lists no recording"),
        ("path,speaker\na.wav,x\n,x\n", "line 3, column path: is empty"),
        ("path,speaker\na.wav\n", "line 2, column speaker: is empty"),
        ("path,speaker,gender\na,x,w\n", "line 2, column gender: 'w' is none of F, M and"),
        ("path,speaker,gender\na,x,f\nb,x,m\n", "line 3, column gender: 'x' is female further up"),
        ("path,speaker,start_seconds\na,x,1:30\n", "line 2, column start_seconds: '1:30' is no"),
        ("path,speaker,start_seconds\na,x,-1\n", "line 2, column start_seconds: '-1' is no"),
        ("path,speaker,end_seconds\na,x,nan\n", "line 2, column end_seconds: 'nan' is no"),
        ("path,speaker,end_seconds\na,x,inf\n", "line 2, column end_seconds: 'inf' is no"),
        ("path,speaker,end_seconds\na,x,0\n", "column end_seconds: 0 does not lie behind"),
        ("path,speaker\na,x\nb,x\na,y\n", "line 4, column path: 'a' is on line 2 too"),
        ("path,speaker,recording\na,x,r\nb,x,r\n", "line 3, column recording: 'r' is on line 2"),
        ('path,speaker\n"a,x\n', "m.csv line 2: unexpected end of data: correct the quotes"),
        ("path,speaker\na\0b,x\n", "line 2, column path: holds a zero byte"),
    ],
)
def test_manifest_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(SwarError) as caught:
        parse_manifest(text, "m.csv")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written", [" Jose\u0301", "Jos\u00e9 "])
def test_names_are_without_blanks_and_composed(written: str) -> None:
    assert parse_speakers(f"speaker\tgender\n{written}\tM\n", "t") == {"Jos\u00e9": "male"}
    (row,) = parse_manifest(f"path,speaker\n a.wav ,{written}\n", "m.csv")
    assert (row.path, row.speaker) == (" a.wav ", "Jos\u00e9")


@pytest.mark.parametrize("written", ["f", "F", "female", " Female "])
def test_genders(written: str) -> None:
    assert parse_speakers(f"speaker\tgender\nx\t{written}\n", "t") == {"x": "female"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speaker\nx\n", "t line 1: column gender must be there once, found speaker"),
        ("speaker\tgender\nx\tfeminine\n", "t line 2, column gender: 'feminine' is none of"),
        ("speaker\tgender\nx\tf\nx\tm\n", "t line 3, column gender: 'x' is female further up"),
    ],
)
def test_speakers_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(SwarError) as caught:
        parse_speakers(text, "t")
    assert message in str(caught.value)
