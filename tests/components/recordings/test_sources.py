import dataclasses
import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import audio
from components.errors import SwarError
from components.recordings.sources import (
    Listing,
    Recording,
    data_digest,
    list_recordings,
)
from tests.bad_recordings import write_bad_recordings
from tests.components.recordings.support_listing import outcomes, touch

DECIDED_BY_THE_PIPELINE = {"silent", "no_speech", "too_short", "duplicate"}


def test_every_odd_recording_has_its_outcome(tmp_path: Path) -> None:
    written = write_bad_recordings(tmp_path)
    assert len(written) >= 80
    listing = list_recordings(str(tmp_path))
    found = {reject.file: reject.reason for reject in listing.rejects}
    for recording in listing.recordings:
        try:
            samples = audio.decode(recording.path, sample_rate=16_000)
            found[recording.recording] = "ok"
            assert samples.ndim == 1
        except audio.AudioError as error:
            found[recording.recording] = error.reason
            assert "\n" not in str(error)
    expected = {
        name: "ok" if outcome in DECIDED_BY_THE_PIPELINE else outcome
        for name, outcome in written.items()
    }
    assert found == expected


def test_bad_recordings_sound_the_same_every_time_and_each_its_own_way(tmp_path: Path) -> None:
    sounds = []
    for name in ("first", "second"):
        root = tmp_path / name
        good = [file for file, outcome in write_bad_recordings(root).items() if outcome == "ok"]
        sounds.append(
            {file: audio.decode(root / file, sample_rate=16_000).tobytes() for file in good}
        )
    assert sounds[0] == sounds[1]
    assert len(set(sounds[0].values())) == len(sounds[0])


def test_folder_with_speakers_table(tmp_path: Path) -> None:
    touch(tmp_path, "asha/b.wav", "asha/deep/er/a.mp3", "bina/c", "notes.txt", ".git/x", "asha/.x")
    table = "\ufeffSpeaker\tage\tgender\r\nasha\t3\tF\r\nbina\t4\t?\r\nabsent\t5\tmale\r\n"
    (tmp_path / "SPEAKERS.tsv").write_text(table, newline="")
    (tmp_path / "chandra").mkdir()
    listing = list_recordings(str(tmp_path))
    assert [(item.recording, item.speaker, item.gender) for item in listing.recordings] == [
        ("asha/b.wav", "asha", "female"),
        ("asha/deep/er/a.mp3", "asha", "female"),
        ("bina/c", "bina", "unknown"),
    ]
    first = listing.recordings[0]
    assert first.path == str(tmp_path / "asha/b.wav")
    assert (first.size_bytes, first.start_seconds, first.end_seconds) == (5, None, None)
    assert first.modified == (tmp_path / "asha/b.wav").stat().st_mtime
    assert [(reject.file, reject.reason, reject.counts) for reject in listing.rejects] == [
        (".git", "hidden", False),
        ("SPEAKERS.tsv", "outside_speaker", False),
        ("asha/.x", "hidden", False),
        ("chandra", "empty_folder", False),
        ("notes.txt", "outside_speaker", False),
    ]
    assert listing.rejects[1].detail == "it has rows about speakers who are not here: 'absent'"


def test_a_folder_of_hidden_files_alone_is_no_speaker(tmp_path: Path) -> None:
    touch(tmp_path, "asha/a.wav", "__MACOSX/._a.wav", "__MACOSX/asha/._a.wav")
    listing = list_recordings(str(tmp_path))
    assert listing.speakers == {"asha"}
    assert {(reject.file, reject.reason) for reject in listing.rejects} == {("__MACOSX", "hidden")}


def test_folders_of_systems_are_no_speakers_and_nothing_in_them_is_used(tmp_path: Path) -> None:
    folders = ("$RECYCLE.BIN", "System Volume Information", "@eaDir", "lost+found", "#recycle")
    touch(tmp_path, "asha/a.wav", *(f"{folder}/S-1-5/$R1.wav" for folder in folders))
    touch(tmp_path, "asha/@eaDir/a.wav/SYNOAUDIO_01.mp3", "ASHA.Bin/b.wav")
    listing = list_recordings(str(tmp_path))
    assert listing.speakers == {"asha", "ASHA.Bin"}
    assert {item.recording for item in listing.recordings} == {"asha/a.wav", "ASHA.Bin/b.wav"}
    assert {reject.file for reject in listing.rejects} == {*folders, "asha/@eaDir"}
    assert not any(reject.counts for reject in listing.rejects)


def test_what_corpora_lay_beside_recordings_is_listed_and_not_counted(tmp_path: Path) -> None:
    beside = (
        *("1.trans.txt", "a.TextGrid", "a.lab", "Thumbs.db", "desktop.ini", "a.json", "b.JPG"),
        *("a.wav:Zone.Identifier", "a.wav@SynoEAStream", "Icon\r", "etc/README", "LICENSE"),
        *("etc/PROMPTS", "wav.scp", "a.wav.reapeaks", "a.PHN", "a.cha", "asha - Shortcut.lnk"),
        *("etc/HDMan_log", "etc/HVite_log", "etc/Julius_log", "etc/audiofile_details"),
        *("cover.gif", "index.lst", "a.PitchTier", "a.pitch", "a.f0", "a.flac.bak"),
    )
    touch(tmp_path, "asha/a.wav", "bina/b.wav", *(f"asha/2021/{name}" for name in beside))
    touch(tmp_path, "transcripts/a.txt", "transcripts/b.csv")
    listing = list_recordings(str(tmp_path))
    assert listing.speakers == {"asha", "bina"}
    assert [item.recording for item in listing.recordings] == ["asha/a.wav", "bina/b.wav"]
    assert {reject.reason for reject in listing.rejects} == {"companion"}
    assert len(listing.rejects) == len(beside) + 2
    assert not any(reject.counts for reject in listing.rejects)


def test_a_long_list_of_absent_speakers_is_cut_short(tmp_path: Path) -> None:
    touch(tmp_path, "asha/a.wav")
    rows = "".join(f"s{number:02d}\tF\n" for number in range(12))
    (tmp_path / "SPEAKERS.tsv").write_text(f"speaker\tgender\n{rows}")
    (reject,) = list_recordings(str(tmp_path)).rejects
    assert reject.detail.endswith(
        ": " + ", ".join(f"'s{n:02d}'" for n in range(10)) + " and 2 more"
    )


def test_a_name_is_the_same_however_its_accents_are_written(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{apart}/a.wav", f"{composed}/b.wav", "bina /c.wav")
    (tmp_path / "SPEAKERS.tsv").write_text(f"speaker\tgender\n {apart} \tM\nbina\tF\n")
    listing = list_recordings(str(tmp_path))
    assert listing.rejects == ()
    assert listing.speakers == {composed, "bina"}
    assert listing.remarks == ()
    assert {(item.recording, item.speaker, item.gender) for item in listing.recordings} == {
        (f"{apart}/a.wav", composed, "male"),
        (f"{composed}/b.wav", composed, "male"),
        ("bina /c.wav", "bina", "female"),
    }
    manifest = tmp_path / "speech.csv"
    manifest.write_text(f"path,speaker\n{apart}/a.wav, {apart}\n{composed}/b.wav,{composed}\n")
    listing = list_recordings(str(manifest))
    assert {item.speaker for item in listing.recordings} == {composed}
    assert listing.rejects == ()


def test_speakers_whose_names_differ_by_blanks_are_one_and_it_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "asha/a.wav", "asha /b.wav", "bina\u00a0rai/c.wav", "bina rai/d.wav", "x/e.wav")
    listing = list_recordings(str(tmp_path))
    assert listing.speakers == {"asha", "bina rai", "x"}
    assert len(listing.recordings) == 5
    assert listing.remarks == (
        "'asha', 'asha ' are taken as one speaker: blanks tell no names apart",
        "'bina rai', 'bina\\xa0rai' are taken as one speaker: blanks tell no names apart",
    )


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("train/asha/a.wav", "train/bina/a.wav", "test-other/x/a.wav"), "train"),
        (("VoxCeleb1/id1/a.wav", "VoxCeleb1/id2/a.wav"), "VoxCeleb1"),
        (("wav/asha/x/a.wav", "wav/bina/y/a.wav"), "wav"),
        (("asha/monday/a.wav", "asha/friday/a.wav", "bina/monday/a.wav"), None),
        (("test/a.wav", "train/x/a.wav"), None),
        (("asha/monday/a.wav",), None),
    ],
)
def test_a_folder_that_is_one_level_too_high_is_guessed(
    tmp_path: Path, names: tuple[str, ...], hint: str | None
) -> None:
    touch(tmp_path, *names)
    remarks = list_recordings(str(tmp_path)).remarks
    assert len(remarks) == (hint is not None)
    if hint is not None:
        assert remarks[0].endswith(f"if these are the speakers, the data is '{tmp_path}/{hint}'")


def test_genders_may_be_in_a_table_separated_by_commas(tmp_path: Path) -> None:
    touch(tmp_path, "asha/a.wav", "bina/b.wav")
    (tmp_path / "SPEAKERS.csv").write_text(
        'speaker,gender,note\nasha,F,"a, b"\nbina,diverse,\n,,\n'
    )
    listing = list_recordings(str(tmp_path))
    assert {item.speaker: item.gender for item in listing.recordings} == {
        "asha": "female",
        "bina": "unknown",
    }
    assert listing.rejects == ()
    assert listing.remarks == (
        f"{tmp_path}/SPEAKERS.csv, column gender: taken as unknown: 'diverse'",
    )
    (tmp_path / "SPEAKERS.tsv").write_text("speaker\tgender\nasha\tF\n")
    with pytest.raises(SwarError, match=r"has SPEAKERS\.tsv and SPEAKERS\.csv: remove one"):
        list_recordings(str(tmp_path))


def test_links_are_followed_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    touch(tmp_path, "data/asha/real/a.wav", "elsewhere/b.wav")
    (data / "asha/a link to real").symlink_to(data / "asha/real")
    (data / "asha/elsewhere").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(data / "asha")
    (data / "all").symlink_to(data)
    (data / "bina").symlink_to(tmp_path / "elsewhere")
    assert outcomes(list_recordings(str(data), follow_outside_links=True)) == {
        "asha/real/a.wav": "ok",
        "asha/a link to real": "duplicate",
        "asha/elsewhere/b.wav": "ok",
        "asha/elsewhere/up": "circular_link",
        "all": "circular_link",
        "bina/b.wav": "ok",
        "bina/up/real/a.wav": "ok",
        "bina/up/a link to real": "duplicate",
        "bina/up/elsewhere": "circular_link",
    }


def test_links_out_of_the_data_are_refused_and_name_nothing_behind_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    touch(tmp_path, "data/asha/a.wav", "data/bina/b.wav", "elsewhere/c.wav", "data2/d.wav")
    (data / "asha/etc").symlink_to("/etc")
    (data / "asha/root").symlink_to("/")
    (data / "asha/up").symlink_to("../../elsewhere")
    (data / "asha/c.wav").symlink_to(tmp_path / "elsewhere/c.wav")
    (data / "asha/beside").symlink_to(tmp_path / "data2")
    (data / "asha/twice").symlink_to("up")
    (data / "asha/in").symlink_to("../bina/b.wav")
    (data / "chandra").symlink_to("/etc")
    (data / "passwd").symlink_to("/etc/passwd")
    (data / "SPEAKERS.tsv").symlink_to("/etc/passwd")
    listing = list_recordings(str(data))
    assert outcomes(listing) == {
        "asha/a.wav": "ok",
        "asha/in": "ok",
        "bina/b.wav": "ok",
        "asha/etc": "outside_link",
        "asha/root": "outside_link",
        "asha/up": "outside_link",
        "asha/c.wav": "outside_link",
        "asha/beside": "outside_link",
        "asha/twice": "outside_link",
        "chandra": "outside_link",
        "passwd": "outside_link",
        "SPEAKERS.tsv": "outside_link",
    }
    assert listing.speakers == {"asha", "bina"}
    (tmp_path / "link to data").symlink_to(data)
    assert outcomes(list_recordings(str(tmp_path / "link to data"))) == outcomes(listing)


def test_a_span_that_is_a_link_out_of_the_data_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "data/01/asha/a.wav", "elsewhere/bina/b.wav")
    (tmp_path / "data/02").symlink_to(tmp_path / "elsewhere")
    pattern = f"{tmp_path}/data/{{SPAN}}"
    assert outcomes(list_recordings(pattern)) == {"01/asha/a.wav": "ok", "02": "outside_link"}
    followed = list_recordings(pattern, follow_outside_links=True)
    assert outcomes(followed) == {"01/asha/a.wav": "ok", "02/bina/b.wav": "ok"}


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_unreadable_folder(tmp_path: Path) -> None:
    touch(tmp_path, "asha/a.wav", "bina/a.wav")
    (tmp_path / "bina").chmod(0)
    try:
        assert outcomes(list_recordings(str(tmp_path)))["bina"] == "unreadable"
    finally:
        (tmp_path / "bina").chmod(stat.S_IRWXU)


def test_unlistable_folder_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "asha/a.wav", "bina/a.wav")
    scandir = os.scandir

    def refusing(path: Path) -> Iterator[os.DirEntry[str]]:
        if path.name == "bina":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert outcomes(list_recordings(str(tmp_path))) == {"asha/a.wav": "ok", "bina": "unreadable"}


name_bytes = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & {0, ord("/")} and name not in (b".", b"..")
)


@given(speakers=st.dictionaries(name_bytes, st.sets(name_bytes, max_size=4), min_size=1))
@settings(max_examples=40)
def test_any_name_is_listed_or_rejected(speakers: dict[bytes, set[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        expected: dict[str, str] = {}
        for speaker, names in speakers.items():
            os.mkdir(os.path.join(os.fsencode(root), speaker))
            if speaker.startswith(b".") or not _is_utf8(speaker):
                expected[_printable(speaker)] = "hidden" if _is_utf8(speaker) else "name_not_utf8"
            elif not names:
                expected[_printable(speaker)] = "empty_folder"
            for name in names:
                Path(root, os.fsdecode(speaker), os.fsdecode(name)).touch()
                if _printable(speaker) not in expected:
                    reason = "hidden" if name.startswith(b".") else "ok"
                    reason = reason if _is_utf8(name) else "name_not_utf8"
                    expected[_printable(speaker + b"/" + name)] = reason
        if all(_is_no_speaker(speaker, names) for speaker, names in speakers.items()):
            with pytest.raises(SwarError, match="no speaker's folder"):
                list_recordings(root)
            return
        listing = list_recordings(root)
        assert outcomes(listing) == expected
        assert listing == list_recordings(root)
        names_in_order = [recording.recording for recording in listing.recordings]
        assert names_in_order == sorted(names_in_order)
        data_digest(listing)


def _is_no_speaker(folder: bytes, names: set[bytes]) -> bool:
    if folder.startswith(b".") or not _is_utf8(folder):
        return True
    return bool(names) and all(name.startswith(b".") and _is_utf8(name) for name in names)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _printable(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def test_input_faults_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "files only/a.wav", "speech.zip", "latin/x/a.wav")
    (tmp_path / "latin/SPEAKERS.tsv").write_bytes(b"speaker\tgender\nJos\xe9\tm\n")
    for name, message in (
        ("absent", "does not exist"),
        ("absent.csv", "does not exist"),
        ("files only", "holds no speaker's folder"),
        ("speech.zip", "is no folder, .csv or .tsv"),
        ("latin", "is not UTF-8 at byte 18"),
    ):
        with pytest.raises(SwarError, match=message):
            list_recordings(str(tmp_path / name))
    with pytest.raises(SwarError, match="no filesystem for 'nosuch://bucket/data'"):
        list_recordings("nosuch://bucket/data")


def test_digest_follows_every_field() -> None:
    item = Recording("/data/a/b.wav", "a", "female", "a/b.wav", None, None, 5, 1.0)
    digest = data_digest(Listing((item,), (), frozenset("a")))
    moved = dataclasses.replace(item, path="/elsewhere/a/b.wav")
    assert data_digest(Listing((moved,), (), frozenset("a"))) == digest
    for change in (
        {"path": "/data/a/other.wav"},
        {"speaker": "c"},
        {"gender": "male"},
        {"recording": "a/c.wav"},
        {"start_seconds": 1.0},
        {"end_seconds": 1.0},
        {"size_bytes": 6},
        {"modified": 2.0},
    ):
        changed = Listing((dataclasses.replace(item, **change),), (), frozenset("a"))
        assert data_digest(changed) != digest, change
    another = dataclasses.replace(item, session="monday", columns={"language": "ne"})
    assert data_digest(Listing((another,), (), frozenset("a"))) == digest


def test_a_folder_below_the_speakers_is_a_session(tmp_path: Path) -> None:
    touch(tmp_path, "asha/a.wav", "asha/monday/b.wav", "asha/monday/booth 2/c.wav")
    sessions = {item.recording: item.session for item in list_recordings(str(tmp_path)).recordings}
    assert sessions == {
        "asha/a.wav": None,
        "asha/monday/b.wav": "monday",
        "asha/monday/booth 2/c.wav": "monday",
    }


def test_tables_say_more_of_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "data/asha/a.wav", "data/bina/b.wav", "m.csv")
    table = "speaker\tgender\tlanguage\nasha\tF\tne\n"
    (tmp_path / "data/SPEAKERS.tsv").write_text(table)
    first, second = list_recordings(str(tmp_path / "data")).recordings
    assert (first.columns, second.columns) == ({"language": "ne"}, {})
    (tmp_path / "m.csv").write_text("path,speaker,device\ndata/asha/a.wav,asha,phone\n")
    (item,) = list_recordings(str(tmp_path / "m.csv")).recordings
    assert item.columns == {"device": "phone"}


def test_digest_follows_the_rejects(tmp_path: Path) -> None:
    touch(tmp_path, "asha/a.wav", "bina/a.wav")
    before = data_digest(list_recordings(str(tmp_path)))
    assert data_digest(list_recordings(str(tmp_path))) == before
    (tmp_path / "asha/broken.wav").symlink_to("nowhere")
    assert data_digest(list_recordings(str(tmp_path))) != before
