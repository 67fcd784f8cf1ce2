"""Recordings in dated or numbered folders, and which of them are taken."""

import os
import unicodedata
from pathlib import Path

import pytest

from components.errors import SwarError
from components.recordings import files, spans
from components.recordings.sources import data_digest, list_recordings

DAYS = "{YYYY}-{MM}-{DD}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three days of two speakers; nothing is decoded."""
    for day in ("2026-01-30", "2026-02-01", "2025-12-31"):
        for speaker in ("asha", "bina"):
            _write(tmp_path / "data" / day / speaker / f"{day}.wav")
    return tmp_path / "data"


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")
    os.utime(path, (1, 1))


def _names(data: Path, pattern: str = DAYS, last: int | None = None) -> list[str]:
    return [item.recording for item in list_recordings(str(data / pattern), last).recordings]


def test_a_speaker_is_one_in_all_spans(data: Path) -> None:
    listing = list_recordings(str(data / DAYS))
    assert listing.speakers == {"asha", "bina"}
    assert [span.name for span in listing.spans] == ["2025-12-31", "2026-01-30", "2026-02-01"]
    # TFX counts days since 1970.
    assert [span.number for span in listing.spans] == [20453, 20483, 20485]
    assert len(listing.recordings) == 6
    assert listing.rejects == ()


def test_a_link_on_the_way_to_a_span_leads_nowhere_else(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere" / "01" / "02" / "asha" / "a.wav")
    _write(tmp_path / "data" / "2025" / "01" / "02" / "bina" / "b.wav")
    (tmp_path / "data" / "2026").symlink_to(tmp_path / "elsewhere")
    pattern = str(tmp_path / "data" / "{YYYY}" / "{MM}" / "{DD}")
    listing = list_recordings(pattern)
    assert listing.speakers == {"bina"}
    assert [item.reason for item in listing.rejects] == ["outside_link"]
    followed = list_recordings(pattern, follow_outside_links=True)
    assert followed.speakers == {"asha", "bina"}


def test_the_window_rolls_over_the_spans_that_are_there(data: Path) -> None:
    newest, before = ("2026-02-01", "2026-01-30")
    for last, days in ((1, [newest]), (2, [before, newest])):
        expected = [f"{day}/{speaker}/{day}.wav" for day in days for speaker in ("asha", "bina")]
        assert _names(data, last=last) == expected
    assert len(_names(data, last=9)) == 6
    _write(data / "2026-02-02" / "asha" / "new.wav")
    assert _names(data, last=1) == ["2026-02-02/asha/new.wav"]


def test_the_digest_is_that_of_the_window(data: Path, tmp_path: Path) -> None:
    digest = data_digest(list_recordings(str(data / DAYS), 2))
    moved = data.rename(tmp_path / "moved")
    assert data_digest(list_recordings(str(moved / DAYS), 2)) == digest
    assert data_digest(list_recordings(str(moved / DAYS), 3)) != digest
    _write(moved / "2026-02-01" / "bina" / "new.wav")
    assert data_digest(list_recordings(str(moved / DAYS), 2)) != digest


@pytest.mark.parametrize(
    ("pattern", "folders", "numbers"),
    [
        ("{SPAN}", ("9", "10"), [9, 10]),
        ("week-{SPAN:3}/speech", ("week-009/speech", "week-010/speech"), [9, 10]),
        ("{YYYY}/{MM}/{DD}", ("1970/01/02", "1970/02/01"), [1, 31]),
    ],
)
def test_numbers_and_dates_in_any_place(
    tmp_path: Path, pattern: str, folders: tuple[str, ...], numbers: list[int]
) -> None:
    for folder in folders:
        _write(tmp_path / folder / "asha" / "a.wav")
    listing = list_recordings(str(tmp_path / pattern))
    assert [span.number for span in listing.spans] == numbers
    assert {item.recording for item in listing.recordings} == {
        f"{folder}/asha/a.wav" for folder in folders
    }


def test_a_span_may_be_a_manifest(tmp_path: Path) -> None:
    for day in (1, 2):
        _write(tmp_path / f"{day}.wav")
        (tmp_path / f"{day}.csv").write_text(f"path,speaker\n{day}.wav,asha\n")
    listing = list_recordings(str(tmp_path / "{SPAN}.csv"))
    assert [item.recording for item in listing.recordings] == ["1.csv/1.wav", "2.csv/2.wav"]
    assert listing.rejects == ()


def test_what_is_no_span_is_listed_and_does_not_count(data: Path) -> None:
    for name in ("2026-02-30", "2026-2-1", "20260-1-01"):
        _write(data / name / "asha" / "a.wav")
    (data / "2026-02-02").mkdir()
    rejects = list_recordings(str(data / DAYS)).rejects
    assert [(item.file, item.reason, item.counts) for item in rejects] == [
        ("2026-02-02", "empty_folder", False),
        ("2026-02-30", "outside_span", False),
        ("2026-2-1", "outside_span", False),
        ("20260-1-01", "outside_span", False),
    ]


def test_what_the_pattern_does_not_match_is_listed_too(data: Path) -> None:
    for name in ("20260107/asha/x.wav", "notes.txt", ".cache/y", "speakers/z"):
        _write(data / name)
    os.mkdir(os.fsencode(data) + b"/caf\xe9")
    (data / "SPEAKERS.tsv").write_text("speaker\tgender\nasha\tF\n")
    rejects = list_recordings(str(data / DAYS), 1).rejects
    assert {(item.reason, item.counts) for item in rejects} == {("outside_span", False)}
    names = [".cache", "20260107", "caf\\xe9", "notes.txt", "speakers"]
    assert [item.file for item in rejects] == names


@pytest.mark.parametrize(
    ("pattern", "span", "beside", "listed"),
    [
        ("{YYYY}/{MM}/{DD}", "2026/01/02", "2026/notes.txt", "2026/notes.txt"),
        ("{YYYY}/{MM}/{DD}", "2026/01/02", "2026/SPEAKERS.tsv", "2026/SPEAKERS.tsv"),
        ("{YYYY}/{MM}/{DD}", "2026/01/02", "2026/13/01/x.wav", "2026/13/01"),
        ("{SPAN}/speech", "7/speech", "7/text/a.txt", "7/text"),
        ("{SPAN}/speech", "7/speech", "8/sound/a.wav", "8"),
        ("week-{SPAN}/speech", "week-7/speech", "week-8/sound/a.wav", "week-8"),
        # Of such a pattern other names are somebody else's.
        ("week-{SPAN}", "week-7", "day-8/asha/a.wav", None),
        ("week-{SPAN}", "week-7", "week-x/asha/a.wav", "week-x"),
    ],
)
def test_what_lies_beside_spans_in_any_place(
    tmp_path: Path, pattern: str, span: str, beside: str, listed: str | None
) -> None:
    _write(tmp_path / span / "asha" / "a.wav")
    _write(tmp_path / beside)
    rejects = list_recordings(str(tmp_path / pattern)).rejects
    expected = [] if listed is None else [(listed, "outside_span")]
    assert [(item.file, item.reason) for item in rejects] == expected


def test_a_relative_pattern_lists_the_same(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(data / "notes.txt")
    absolute = list_recordings(str(data / DAYS)).rejects
    assert [item.file for item in absolute] == ["notes.txt"]
    for folder, pattern in ((data, DAYS), (data, f"./{DAYS}"), (data.parent, f"data/{DAYS}/")):
        monkeypatch.chdir(folder)
        assert list_recordings(pattern).rejects == absolute


def test_a_folder_on_the_way_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for span in ("7", "8"):
        _write(tmp_path / span / "speech" / "asha" / "a.wav")

    def refusing(folder: Path) -> list[Path]:
        if folder.name == "8":
            raise SwarError(f"{folder} cannot be listed")
        return files.entries_of(folder)

    monkeypatch.setattr(spans, "entries_of", refusing)
    (reject,) = list_recordings(str(tmp_path / "{SPAN}/speech")).rejects
    assert (reject.file, reject.reason) == ("8", "unreadable")


def test_a_speaker_is_one_however_accents_are_written(data: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    _write(data / "2026-01-30" / apart / "a.wav")
    _write(data / "2026-02-01" / composed / "b.wav")
    (data / "SPEAKERS.tsv").write_text(f"speaker\tgender\n{apart}\tM\n")
    listing = list_recordings(str(data / DAYS))
    assert listing.speakers == {"asha", "bina", composed}
    genders = {item.gender for item in listing.recordings if item.speaker == composed}
    assert genders == {"male"}
    assert listing.rejects == ()


def test_rows_about_nobody_are_told(data: Path) -> None:
    (data / "SPEAKERS.tsv").write_text("speaker\tgender\nasha\tF\nbinna\tF\n")
    (data / "2026-02-01" / "SPEAKERS.tsv").write_text("speaker\tgender\nAsha\tF\n")
    rejects = list_recordings(str(data / DAYS)).rejects
    assert [(item.file, item.reason, item.detail[-9:], item.counts) for item in rejects] == [
        ("2026-02-01/SPEAKERS.tsv", "outside_speaker", "e: 'Asha'", False),
        ("SPEAKERS.tsv", "outside_speaker", ": 'binna'", False),
    ]


def test_cuts_overlap_across_spans(tmp_path: Path) -> None:
    _write(tmp_path / "long.wav")
    for span, cut in ((1, "0,60"), (2, "30,90")):
        table = f"path,speaker,start_seconds,end_seconds\nlong.wav,asha,{cut}\n"
        (tmp_path / f"{span}.csv").write_text(table)
    with pytest.raises(SwarError, match=r"^'1\.csv/long.wav#0-60' and '2\.csv/.*' overlap"):
        list_recordings(str(tmp_path / "{SPAN}.csv"))
    assert _names(tmp_path, "{SPAN}.csv", 1) == ["2.csv/long.wav#30-90"]


def test_a_gender_is_told_once_for_all_spans(data: Path) -> None:
    (data / "SPEAKERS.tsv").write_text("speaker\tgender\nasha\tF\nbina\t?\n")
    (data / "2026-02-01" / "SPEAKERS.tsv").write_text("speaker\tgender\nbina\tM\n")
    found = list_recordings(str(data / DAYS)).recordings
    assert {(item.speaker, item.gender) for item in found} == {("asha", "female"), ("bina", "male")}
    (data / "SPEAKERS.tsv").write_text("speaker\tgender\tcity\nasha\tF\tPokhara\nbina\t?\t\n")
    found = list_recordings(str(data / DAYS)).recordings
    assert {(item.speaker, item.columns.get("city")) for item in found} == {
        ("asha", "Pokhara"),
        ("bina", None),
    }
    (data / "2026-01-30" / "SPEAKERS.tsv").write_text("speaker\tgender\nasha\tM\n")
    with pytest.raises(SwarError, match=r"'asha' is female, and male in '2026-01-30/asha"):
        list_recordings(str(data / DAYS))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{YYYY}-{MM}", "Exactly one of each date spec"),
        ("{SPAN}/{YYYY}-{MM}-{DD}", "exclusively"),
        ("{SPAN}/{SPAN}", "Only one"),
        ("{SPAN:x}", "number of digits"),
        ("{yyyy}-{mm}-{dd}", "is no pattern of spans"),
        ("{SPAN}/v{VERSION}", "without {VERSION}"),
        ("{SPAN}/*", "matches no span"),
        ("{SPAN}", "matches no span"),
    ],
)
def test_a_wrong_pattern_is_told_in_one_line(data: Path, pattern: str, message: str) -> None:
    with pytest.raises(SwarError) as raised:
        list_recordings(str(data / pattern))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_span_twice_is_an_error(tmp_path: Path) -> None:
    for folder in ("7", "07"):
        _write(tmp_path / folder / "asha" / "a.wav")
    with pytest.raises(SwarError, match=r"are the same span, 7: rename one"):
        list_recordings(str(tmp_path / "{SPAN}"))


def test_a_window_needs_spans(data: Path) -> None:
    with pytest.raises(SwarError, match=r"speech\.rolling_spans is 2, and .* has no spans"):
        list_recordings(str(data / "2026-02-01"), 2)


def test_a_folder_that_is_called_so_is_no_pattern(tmp_path: Path) -> None:
    _write(tmp_path / "{SPAN}" / "asha" / "a.wav")
    assert _names(tmp_path, "{SPAN}") == ["asha/a.wav"]
