import csv
import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import SwarError
from components.recordings import tables
from components.recordings.tables import parse_manifest, parse_speakers, speaker_name

cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
filled = cell.filter(lambda text: bool(text.strip()))
row = st.tuples(
    filled, filled, st.floats(0, 1e6), st.floats(1e-3, 1e6), cell.map(str.strip), st.booleans()
)


def speaker_of(written: str) -> str:
    seen = written.translate(tables._INVISIBLE)
    return " ".join(unicodedata.normalize("NFC", seen).split()) or written


@given(rows=st.lists(row, min_size=1, max_size=6), tabs=st.booleans())
@settings(max_examples=100)
def test_manifest_round_trip(
    rows: list[tuple[str, str, float, float, str, bool]], tabs: bool
) -> None:
    text = io.StringIO(newline="")
    if tabs:  # which have no quotes, so that a cell holds no tab and no line's end
        unquoted = dict.fromkeys(map(ord, "\t\r\n"), "")
        rows = [
            (
                path.translate(unquoted),
                speaker.translate(unquoted),
                start,
                seconds,
                name.translate(unquoted),
                cut,
            )
            for path, speaker, start, seconds, name, cut in rows
            if path.translate(unquoted).strip() and speaker.translate(unquoted).strip()
        ]
        writer = csv.writer(text, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
    else:
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["speaker", "other", "path", "recording", "end_seconds", "start_seconds"])
    expected = {}
    for path, speaker, start, seconds, recording, cut in rows:
        end = start + seconds
        times = (repr(end), repr(start)) if cut else ("", "")
        bare = path.strip()
        name = recording.strip() or (f"{bare}#{start!r}-{end!r}" if cut else bare)
        if name not in expected:
            expected[name] = (
                path,
                speaker_of(speaker),
                start if cut else None,
                end if cut else None,
            )
            writer.writerow([speaker, "x", path, recording, *times])
    if not expected:
        return
    parsed = parse_manifest(text.getvalue(), "m.tsv" if tabs else "m.csv").rows
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
        (
            "path,speaker,end_seconds,end_seconds\na,b,1,2\n",
            "column end_seconds must be there once",
        ),
        ("path,speaker,Device, device \na,b,c,d\n", "line 1: column device must be there once"),
        ("path,speaker\n", "m.csv lists no recording"),
        ("path,speaker\na.wav,x\n,x\n", "line 3, column path: is empty"),
        ("path,speaker\na.wav\n", "line 2, column speaker: is empty"),
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
        ("path,speaker\nfile:///a%00b,x\n", "line 2, column path: holds a zero byte"),
        ("path,speaker\nfile://host/a,x\n", "line 2, column path: 'file://host/a' names another"),
        ("path,speaker\n,,,\n", "m.csv lists no recording"),
        ("path,speaker\na,x\na ,x\n", "line 3, column path: 'a' is on line 2 too"),
        (
            "path,speaker\na, b.wav,x\n",
            "line 2: has 3 cells, the header 2: quote cells with commas",
        ),
        ("path;speaker\na;b.wav;x\n", "line 2: has 3 cells, the header 2: quote cells with semi"),
        ("sep=;\n;\npath;gender\na;f\n", "m.csv line 3: column speaker must be there once, found"),
        ('path,speaker,start_seconds\na,x,"0,5"\n', "column start_seconds: '0,5' is no number"),
        ("path;speaker;start_seconds\na;x;1.000,5\n", "start_seconds: '1.000,5' is no number"),
        ("a\0,\x1b[31m,speaker\n", "found 'a\\x00', '\\x1b[31m', 'speaker': write a header"),
    ],
)
def test_manifest_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(SwarError) as caught:
        parse_manifest(text, "m.csv")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "written", [" Jose\u0301  Rai", "Jos\u00e9\u00a0Rai ", "Jos\u00e9\u2003Rai"]
)
def test_names_are_composed_and_their_blanks_folded(written: str) -> None:
    table = parse_speakers(f"speaker\tgender\n{written}\tM\n", "t.tsv")
    assert table.genders == {"Jos\u00e9 Rai": "male"}
    (row,) = parse_manifest(f"path,speaker\n a.wav ,{written}\n", "m.csv").rows
    assert (row.path, row.recording, row.speaker) == (" a.wav ", "a.wav", "Jos\u00e9 Rai")


def test_names_that_differ_by_their_blanks_alone_are_one_and_it_is_said() -> None:
    text = "path,speaker\na,Asha Rai\nb,Asha\u00a0Rai\nc,Jose\u0301\nd,Jos\u00e9\n"
    manifest = parse_manifest(text, "m.csv")
    assert [row.speaker for row in manifest.rows] == ["Asha Rai"] * 2 + ["Jos\u00e9"] * 2
    (remark,) = manifest.remarks
    assert remark.text.startswith("'Asha Rai', 'Asha\\xa0Rai' are taken as one speaker")


@given(name=filled)
def test_a_name_is_its_own_name(name: str) -> None:
    assert speaker_name(speaker_name(name)) == speaker_name(name)


@pytest.mark.parametrize("rows", ["a,x,,\n,,,\n , \u00a0,,\n\n", "\n,\na,x\n,,,,,\n"])
def test_rows_without_a_cell_are_passed_over(rows: str) -> None:
    (row,) = parse_manifest(f"path,speaker,,\n{rows}", "m.csv").rows
    assert (row.path, row.speaker) == ("a", "x")


@pytest.mark.parametrize("sentence", ['"So be it", he said ', '"Wait', 'He said: "', '""', '"a" b'])
def test_tabs_separate_cells_whatever_quotes_they_hold(sentence: str) -> None:
    text = f"speaker\tpath\tsentence\tgender\nx\ta\t{sentence}\tfemale_feminine\ny\tb\t\t\n"
    rows = parse_manifest(text, "m.tsv").rows
    assert [(row.speaker, row.path, row.gender) for row in rows] == [
        ("x", "a", "female"),
        ("y", "b", "unknown"),
    ]


def test_paths_may_be_urls_of_files_on_this_machine() -> None:
    text = "path,speaker\nfile:///a/b%20c.wav,x\nfile://localhost/d#1?.wav,x\nFILE:///50%,x\n"
    paths = [row.path for row in parse_manifest(text, "m.csv").rows]
    assert paths == ["/a/b c.wav", "/d#1?.wav", "/50%"]


@pytest.mark.parametrize("written", ["f", "F", "female", " Female ", "female_feminine"])
def test_genders(written: str) -> None:
    table = parse_speakers(f"speaker\tgender\nx\t{written}\n", "t.tsv")
    assert (table.genders, table.remarks) == ({"x": "female"}, [])


def test_other_genders_count_as_unknown_and_are_said() -> None:
    text = "path,speaker,gender\na,x,non-binary\nb,y,w\nc,z,F\nd,z,\ne,z,do_not_wish_to_say\n"
    manifest = parse_manifest(text, "m.csv")
    assert [row.gender for row in manifest.rows] == ["unknown", "unknown"] + 3 * ["female"]
    assert [remark.text for remark in manifest.remarks] == [
        "m.csv, column gender: taken as unknown: 'do_not_wish_to_say', 'non-binary', 'w'"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speaker\nx\n", "t.tsv line 1: column gender must be there once, found 'speaker'"),
        ("speaker\tgender\nx\tf\nx\tm\n", "t.tsv line 3, column gender: 'x' is female further"),
        ("speaker\tgender\nx\t\nx\tf\nx\tm\n", "t.tsv line 4, column gender: 'x' is female"),
    ],
)
def test_speakers_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(SwarError) as caught:
        parse_speakers(text, "t.tsv")
    assert message in str(caught.value)


def test_columns_that_nothing_else_is_read_from_are_the_datas_own() -> None:
    table = "path,speaker,gender,Language, device ,\na.wav,x,f,ne ,,z\nb.wav,x,f,,phone,\n"
    assert [row.columns for row in parse_manifest(table, "m.csv").rows] == [
        {"language": "ne"},
        {"device": "phone"},
    ]


def test_rows_of_a_speaker_that_contradict_each_other_say_nothing() -> None:
    rows = "x\tf\tne\tPokhara\nx\tf\ten\t\nx\tf\tne\t\n"
    text = f"speaker\tgender\tlanguage\tcity\n{rows}"
    assert parse_speakers(text, "t.tsv").columns == {"x": {"city": "Pokhara"}}


@pytest.mark.parametrize(
    "text",
    [
        'path;speaker;start_seconds\r\n"a;b.wav";x;0,5\r\n',
        'sep=;\r\npath;speaker;start_seconds\r\n"a;b.wav";x;0,5\r\n',
        "path\tspeaker\tstart_seconds\r\na;b.wav\tx\t0,5\r\n",
        '"sep=,"\r\npath,speaker,start_seconds\r\na;b.wav,x,0.5\r\n',
        ",,\n,,\npath,speaker,start_seconds\na;b.wav,x,0.5\n",
        "\n;;\npath;speaker;start_seconds;\na;b.wav;x;0.5;\n".replace("a;b.wav", '"a;b.wav"'),
    ],
)
def test_a_csv_is_separated_as_its_header_is(text: str) -> None:
    (row,) = parse_manifest(text, "m.csv").rows
    assert (row.path, row.speaker, row.start_seconds) == ("a;b.wav", "x", 0.5)


@pytest.mark.parametrize(
    "written", ["\u200bAsha", "As\u00adha\ufeff", "\u202aAsha\u202c", "Asha\u200e"]
)
def test_what_is_not_seen_tells_no_names_apart(written: str) -> None:
    manifest = parse_manifest(f"path,speaker\na,{written}\nb,Asha\n", "m.csv")
    assert {row.speaker for row in manifest.rows} == {"Asha"}
    assert len(manifest.remarks) == 1


def test_joiners_that_a_script_needs_are_of_the_name() -> None:
    with_joiner, without = "\u0915\u094d\u200d\u0937", "\u0915\u094d\u0937"
    assert speaker_name(with_joiner) != speaker_name(without)


def test_a_header_is_whole_where_a_name_holds_what_ends_lines_elsewhere() -> None:
    table = parse_manifest("note\u2028;path;speaker\rx;a.wav;asha\r", "m.csv")
    assert [(row.path, row.speaker) for row in table.rows] == [("a.wav", "asha")]
