"""Manifests as they are written: names, encodings, cuts, and what is no list of recordings."""

import os
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from components.errors import SwarError
from components.recordings import files
from components.recordings.sources import list_recordings
from tests.components.recordings.support_listing import outcomes, touch


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_manifest_may_spell_paths_in_another_way(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], written: Literal["NFC", "NFD"]
) -> None:
    files = [unicodedata.normalize(on_disk, f"José/é {number}.wav") for number in range(3)]
    touch(tmp_path, *files)
    first, second, third = (unicodedata.normalize(written, name) for name in files)
    url = (tmp_path / third).as_uri()
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"path,speaker\n{first},x\n {second}\u00a0,x\n{url},y\nno ,y\n")
    listing = list_recordings(str(manifest))
    assert sorted(item.path for item in listing.recordings) == [f"{tmp_path}/{f}" for f in files]
    assert {item.recording for item in listing.recordings} == {first, second, f"{tmp_path}/{third}"}
    (reject,) = listing.rejects
    assert (reject.file, reject.reason) == ("no", "missing")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tsv", "path\tspeaker\r\na/José.wav\tasha\r\n".encode("utf-16")),
        ("m.csv", "path\tspeaker\r\na/José.wav\tasha\r\n".encode("utf-16")),
        ("m.csv", "\ufeffpath;speaker\r\na/José.wav;asha\r\n".encode("utf-16-be")),
        ("m.csv", "path;speaker\r\na/José.wav;asha\r\n".encode("utf-8-sig")),
        ("m.csv", "path,speaker\r\na\\José.wav,asha\r\n".encode()),
        ("m.csv", "path,speaker\r\n\u202a.\\a\\Jose\u0301.wav ,asha\r\n".encode()),
    ],
)
def test_a_manifest_may_be_of_a_spreadsheet_on_windows(
    tmp_path: Path, name: str, content: bytes
) -> None:
    touch(tmp_path, "a/José.wav")
    (tmp_path / name).write_bytes(content)
    (item,) = list_recordings(str(tmp_path / name)).recordings
    assert (item.path, item.speaker) == (f"{tmp_path}/a/José.wav", "asha")


@pytest.mark.parametrize(
    "content", [b"path,speaker\na,Jos\xe9\n", "path\n".encode("utf-16") + b"\0", b"PK\3\4\xff\xfe"]
)
def test_another_encoding_is_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(SwarError, match=r"m\.csv' is not UTF-8 at byte \d+: save it as UTF-8$"):
        list_recordings(str(tmp_path / "m.csv"))


def test_a_backslash_in_a_name_is_one_where_a_file_is_called_so(tmp_path: Path) -> None:
    touch(tmp_path, "a\\b.wav", "a/b.wav")
    (tmp_path / "m.csv").write_text("path,speaker\na\\b.wav,asha\n")
    (item,) = list_recordings(str(tmp_path / "m.csv")).recordings
    assert item.path == f"{tmp_path}/a\\b.wav"


def test_a_manifest_that_is_no_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.csv")
    (tmp_path / "zero.tsv").symlink_to("/dev/zero")
    for name in ("m.csv", "zero.tsv"):
        with pytest.raises(SwarError, match="is no regular file: name one"):
            list_recordings(str(tmp_path / name))
    touch(tmp_path, "data/asha/a.wav")
    os.mkfifo(tmp_path / "data/SPEAKERS.tsv")
    assert outcomes(list_recordings(str(tmp_path / "data"))) == {
        "asha/a.wav": "ok",
        "SPEAKERS.tsv": "not_a_file",
    }


def test_a_manifest_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "m.csv").open("wb") as file:
        file.truncate(2**40)  # of no bytes on the disk
    monkeypatch.setattr(files, "MOST_TEXT_BYTES", 1_000_000)
    with pytest.raises(SwarError, match="has more than 1 MB: divide it"):
        list_recordings(str(tmp_path / "m.csv"))


def test_a_manifest_of_pipes_and_devices_lists_rejects(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    touch(tmp_path, "a.wav")
    (tmp_path / "m.csv").write_text(
        "path,speaker\npipe.wav,asha\n/dev/zero,asha\n/dev/stdin,bina\na.wav,bina\n"
    )
    found = outcomes(list_recordings(str(tmp_path / "m.csv")))
    assert found.pop("/dev/stdin") in ("not_a_file", "missing", "ok")
    assert found == {"pipe.wav": "not_a_file", "/dev/zero": "not_a_file", "a.wav": "ok"}


def test_manifest_of_cuts(tmp_path: Path) -> None:
    touch(tmp_path, "in/long.mp3", "in/whole.mp3", "in/.dotted.wav")
    (tmp_path / "in/folder").mkdir()
    manifest = tmp_path / "in/speech.csv"
    manifest.write_text(
        "path,speaker,gender,start_seconds,end_seconds,recording\n"
        "long.mp3,asha,F,0,60.5,\n"
        "long.mp3,bina,m,61,,second half\n"
        f"{tmp_path}/in/whole.mp3,asha,F,,,\n"
        ".dotted.wav,asha,f,,,\n"
        "folder,asha,f,,,\n"
        "absent.wav,asha,f,,,\n"
    )
    listing = list_recordings(str(manifest))
    long, whole = str(tmp_path / "in/long.mp3"), str(tmp_path / "in/whole.mp3")
    rows = [
        (item.recording, item.path, item.speaker, item.gender, item.start_seconds, item.end_seconds)
        for item in listing.recordings
    ]
    assert rows == [
        (".dotted.wav", str(tmp_path / "in/.dotted.wav"), "asha", "female", None, None),
        (whole, whole, "asha", "female", None, None),
        ("long.mp3#0-60.5", long, "asha", "female", 0.0, 60.5),
        ("second half", long, "bina", "male", 61.0, None),
    ]
    assert [(reject.file, reject.reason, reject.counts) for reject in listing.rejects] == [
        ("absent.wav", "missing", True),
        ("folder", "not_a_file", True),
    ]


def test_a_manifest_may_tell_the_session(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    rows = "path,speaker,session\na.wav,asha, monday \nb.wav,asha,\n"
    (tmp_path / "m.csv").write_text(rows)
    listing = list_recordings(str(tmp_path / "m.csv"))
    assert [item.session for item in listing.recordings] == ["monday", None]
