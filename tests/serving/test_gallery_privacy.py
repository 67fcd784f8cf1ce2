"""A gallery holds people's voices: who can read them, for how long, and who must not be in it."""

import contextlib
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.fernet import Fernet

from components.errors import SwarError
from serving import gallery_table
from serving.gallery import Gallery
from serving.gallery_keys import GalleryKeys, read_keys, write_new_key
from serving.gallery_table import GalleryTable
from tests.serving.support_gallery import MODEL, OTHER_MODEL, enrolment, fill, unit

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "gallery"


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_nobody_else_can_look_into_the_folder(place: Path) -> None:
    place.mkdir(mode=0o755)
    fill(Gallery(place), 1)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    new = place / "below" / "new"
    fill(Gallery(new), 1)
    assert stat.S_IMODE(new.stat().st_mode) == 0o700


def test_a_sealed_gallery_has_no_voice_that_can_be_read(place: Path) -> None:
    gallery = Gallery(place, GalleryKeys([OLD]))
    first = enrolment(1)
    gallery.enroll("Sita", [first], keep_audio=True, consent="form 12")
    secrets = [
        first.embedding.vector.tobytes(),
        first.wav[100:200],
        first.source.encode(),
        b"form 12",
    ]
    assert [secret for secret in secrets if secret in _bytes(place)] == []
    again = Gallery(place, GalleryKeys([NEW, OLD]))
    np.testing.assert_allclose(again.reference("Sita", MODEL), unit(1), rtol=1e-6)
    assert again.nearest(unit(1), MODEL, top=1)[0].speaker == "Sita"
    ((_, speaker, wav),) = again.kept_audio(again.stale(OTHER_MODEL).kept_ids)
    assert (speaker, wav) == ("Sita", first.wav)
    (recording,) = again.recordings("Sita")
    assert (recording.source, recording.consent) == (first.source, "form 12")


def test_another_key_or_none_opens_nothing(place: Path) -> None:
    Gallery(place, GalleryKeys([OLD])).enroll("Sita", [enrolment(1)], keep_audio=False)
    for keys, message in ((None, "is sealed: name its key"), (GalleryKeys([NEW]), "another key")):
        other = Gallery(place, keys)
        for ask in (
            lambda of=other: of.nearest(unit(1), MODEL, top=1),
            lambda of=other: of.reference("Sita", MODEL),
            lambda of=other: of.enroll("Ram", [enrolment(2)], keep_audio=False),
            lambda of=other: of.speakers(),
        ):
            with pytest.raises(SwarError, match=message):
                ask()
        assert other.exists()
    assert Gallery(place).forget("Sita") == 1  # forgetting needs no key


def test_what_was_changed_or_moved_is_not_opened() -> None:
    keys = GalleryKeys([OLD])
    sealed = keys.seal(b"voice", "id-1 vector")
    assert keys.open(sealed, "id-1 vector") == b"voice"
    with pytest.raises(SwarError, match="not in its place"):
        keys.open(sealed, "id-2 vector")
    with pytest.raises(SwarError, match="was changed"):
        other = b"A" if sealed[-9:-8] != b"A" else b"B"
        keys.open(sealed[:-9] + other + sealed[-8:], "id-1 vector")
    with pytest.raises(SwarError, match="is not sealed: `swar seal`"):
        keys.open(GalleryKeys().seal(b"voice", "id-1 vector"), "id-1 vector")


@pytest.mark.parametrize("before", [None, GalleryKeys([OLD])])
def test_a_gallery_is_sealed_with_a_new_key_and_nothing_of_before_stays(
    place: Path, before: GalleryKeys | None
) -> None:
    gallery = Gallery(place, before)
    fill(gallery, 3, keep_audio=True)
    stored = _bytes(place)
    # What the old key sealed would still be opened by it.
    tokens = stored.split(b"gAAAA")[1:] if before else []
    rotated = Gallery(place, GalleryKeys([NEW, OLD]))
    assert rotated.seal() == 3
    now = _bytes(place)
    assert not any(token[:60] in now for token in tokens)
    assert unit(1).tobytes() not in now
    only_new = Gallery(place, GalleryKeys([NEW]))
    assert only_new.nearest(unit(2), MODEL, top=1)[0].speaker == "speaker 0002"
    assert len(only_new.kept_audio(only_new.stale(OTHER_MODEL).kept_ids)) == 3


def test_keys_lie_in_a_private_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    assert write_new_key(file) == 1
    sealed = read_keys(str(file)).seal(b"x", "p")
    assert write_new_key(file) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_keys(str(file)).open(sealed, "p") == b"x"
    monkeypatch.setenv("SECRET", file.read_text().split()[1])
    assert read_keys("env:SECRET").open(sealed, "p") == b"x"


def test_a_key_that_will_not_do_is_said(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for source in (str(file), "env:NOTHING_SUCH"):
        with pytest.raises(SwarError, match="swar gallery-key"):
            read_keys(source)
    file.write_text("no key")
    with pytest.raises(SwarError, match=r"others can read .*chmod 600"):
        read_keys(str(file))
    file.chmod(0o600)
    for ask in (lambda: read_keys(str(file)), lambda: write_new_key(file)):
        with pytest.raises(SwarError, match="not one that `swar gallery-key` made"):
            ask()
    with pytest.raises(SwarError, match=f"--gallery-key {file}: "):
        read_keys(str(file))
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    for mode in (0o700, 0o755):
        folder.chmod(mode)
        for ask in (lambda: read_keys(str(folder)), lambda: write_new_key(folder)):
            with pytest.raises(SwarError, match="is a folder: name a file for the key"):
                ask()


def test_a_key_is_read_whatever_an_editor_puts_around_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_bytes(b"\xef\xbb\xbf" + NEW.encode() + b"\r\n\r\n")
    sealed = GalleryKeys([NEW]).seal(b"x", "p")
    assert read_keys(str(file)).open(sealed, "p") == b"x"


def test_a_recording_that_has_expired_is_found_by_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery(place)
    soon = datetime.now(UTC) + timedelta(hours=1)
    gallery.enroll("Sita", [enrolment(1)], keep_audio=True, expires_at=soon, consent="a year")
    gallery.enroll("Ram", [enrolment(2)], keep_audio=False)
    assert gallery.nearest(unit(1), MODEL, top=1)[0].speaker == "Sita"
    sita = gallery.speakers()[1]
    assert (sita.expires_at, sita.consent) == (soon, "a year")
    assert gallery.forget_expired() == 0

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=2)

    monkeypatch.setattr("serving.gallery.datetime", Later)
    assert [each.speaker for each in gallery.nearest(unit(1), MODEL, top=5)] == ["Ram"]
    assert [each.name for each in gallery.speakers()] == ["Ram"]
    assert gallery.stale(OTHER_MODEL).kept_ids == []
    with pytest.raises(SwarError, match="nobody named 'Sita'"):
        gallery.reference("Sita", MODEL)
    assert enrolment(1).wav[100:200] in _bytes(place)
    assert gallery.forget_expired() == 1
    assert enrolment(1).wav[100:200] not in _bytes(place)


def test_a_recording_that_had_expired_can_be_enrolled_again(place: Path) -> None:
    gallery = Gallery(place)
    past = datetime.now(UTC) - timedelta(hours=1)
    gallery.enroll("Sita", [enrolment(1)], keep_audio=False, expires_at=past)
    assert gallery.speakers() == []
    assert gallery.enroll("Sita", [enrolment(1)], keep_audio=False) == 1
    assert [each.name for each in gallery.speakers()] == ["Sita"]


def test_one_recording_is_listed_and_forgotten(place: Path) -> None:
    gallery = Gallery(place)
    gallery.enroll("Sita", [enrolment(1)], keep_audio=True)
    gallery.enroll("Sita", [enrolment(2)], keep_audio=False)
    gallery.enroll("Ram", [enrolment(1)], keep_audio=False)
    first, second = gallery.recordings("Sita")
    assert [each.source for each in (first, second)] == ["take-0001.flac", "take-0002.flac"]
    assert (first.audio_kept, second.audio_kept) == (True, False)
    (others,) = gallery.recordings("Ram")
    for wrong in ("", first.id[:7], others.id, "0" * 64):
        with pytest.raises(SwarError, match="is no recording of 'Sita'"):
            gallery.forget("Sita", recording=wrong)
    assert gallery.forget("Sita", recording=first.id[:8]) == 1
    np.testing.assert_allclose(gallery.reference("Sita", MODEL), unit(2), rtol=1e-6)
    assert enrolment(1).wav[100:200] not in _bytes(place)
    with pytest.raises(SwarError, match="nobody named 'Hari'"):
        gallery.recordings("Hari")


@pytest.mark.parametrize("name", ["Asha Rai", "asha rai", "\u0410sha Rai", "Asha  Rai"])
def test_who_opted_out_is_not_enrolled(place: Path, name: str) -> None:
    gallery = Gallery(place)
    gallery.enroll("Asha Rai", [enrolment(1)], keep_audio=False)
    gallery.opt_out("Asha Rai")
    assert gallery.speakers() == []
    with pytest.raises(SwarError, match="has opted out"):
        Gallery(place).enroll(name, [enrolment(2)], keep_audio=False)
    gallery.enroll("Ram", [enrolment(2)], keep_audio=False)
    stored = _bytes(place)
    assert b"Asha" not in stored and b"asha" not in stored
    gallery.ledger.opt_in(name)
    assert gallery.enroll(name, [enrolment(2)], keep_audio=False) == 1
    with pytest.raises(SwarError, match="nobody named 'Hari' has opted out"):
        gallery.ledger.opt_in("Hari")


@pytest.mark.parametrize("name", ["asha rai", "\u0410sha Rai", "Asha Rai"])
def test_who_opts_out_in_another_spelling_is_forgotten(place: Path, name: str) -> None:
    gallery = Gallery(place)
    for at, each in enumerate(["Asha Rai", "asha Rai", "Ram"]):
        gallery.enroll(each, [enrolment(at)], keep_audio=True)
    assert gallery.opt_out(name) == ["Asha Rai", "asha Rai"]
    assert [each.speaker for each in gallery.nearest(unit(0), MODEL, top=5)] == ["Ram"]
    assert enrolment(0).wav[100:200] not in _bytes(place)
    assert [each.action for each in gallery.ledger.events("Asha Rai")].count("forget") == 2
    assert gallery.opt_out("Hari") == []


def test_who_opts_out_during_the_enrolment_is_not_enrolled(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery(place)
    gallery.enroll("Ram", [enrolment(1)], keep_audio=True)
    check = gallery._check_key

    def opt_out_and_check(table: Any) -> None:
        with monkeypatch.context() as patch:
            # It finds nothing to forget, as the recordings are not there yet. On object storage
            # there is no lock for it to wait for.
            patch.setattr(Gallery, "_erase", lambda *_: None)
            patch.setattr(GalleryTable, "_lock", lambda *_: contextlib.nullcontext())
            Gallery(place).opt_out("asha rai")
        check(table)

    monkeypatch.setattr(gallery, "_check_key", opt_out_and_check)
    with pytest.raises(SwarError, match="'Asha Rai' has opted out"):
        gallery.enroll("Asha Rai", [enrolment(2)], keep_audio=True)
    assert [each.name for each in gallery.speakers()] == ["Ram"]
    assert enrolment(2).wav[100:200] not in _bytes(place)
    assert enrolment(1).wav[100:200] in _bytes(place)


def test_sealing_holds_few_recordings_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(place, GalleryKeys([OLD]))
    gallery.enroll("crowd", [enrolment(n) for n in range(20)], keep_audio=True)
    write = gallery._write
    sizes: list[int] = []

    def count_and_write(table: Any, rows: list[dict[str, Any]]) -> None:
        sizes.append(len(rows))
        write(table, rows)

    monkeypatch.setattr(gallery, "_write", count_and_write)
    assert gallery.seal() == 20
    assert sum(sizes) == 20 and max(sizes) <= 8


def test_a_key_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    write_new_key(file)
    before = file.read_text()

    def full(_: int) -> None:
        raise OSError("no room")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no room"):
        write_new_key(file)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("key", before)]


def test_who_was_never_enrolled_can_opt_out(place: Path) -> None:
    Gallery(place).opt_out("Asha Rai")
    assert not Gallery(place).exists()
    with pytest.raises(SwarError, match="has opted out"):
        Gallery(place).enroll("Asha Rai", [enrolment(2)], keep_audio=False)


def test_the_ledger_tells_what_was_done_without_names_and_voices(place: Path) -> None:
    gallery = Gallery(place)
    gallery.enroll("Asha Rai", [enrolment(1), enrolment(2)], keep_audio=True, actor="desk 3")
    gallery.enroll("Ram", [enrolment(3)], keep_audio=False)
    gallery.forget("Asha Rai", actor="desk 4")
    events = [(each.action, each.recordings, each.actor) for each in gallery.ledger.events()]
    assert events[0] == ("enrol", 2, "desk 3") and events[2] == ("forget", 2, "desk 4")
    assert events[1][:2] == ("enrol", 1) and events[1][2]
    assert [each.action for each in gallery.ledger.events("Asha Rai")] == ["enrol", "forget"]
    stored = _bytes(place)
    assert b"Asha" not in stored
    assert unit(1).tobytes() not in stored


def test_a_gallery_of_an_earlier_form_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = gallery_table.SCHEMA.remove(gallery_table.SCHEMA.get_field_index("consent"))
    with gallery_table.GalleryTable(str(place), schema=earlier).opened(create=True):
        pass
    with pytest.raises(SwarError, match="of an earlier version of Swar"):
        Gallery(place).speakers()


@pytest.mark.parametrize("name", ["PanicException", "RustPanic"])
def test_a_panic_of_the_store_is_one_line(place: Path, name: str) -> None:
    """Such an error is no Exception, and would pass all who catch those."""
    panic = type(name, (BaseException,), {})
    fill(Gallery(place), 1)
    with (
        pytest.raises(SwarError, match=r"cannot be used: range end index 9") as raised,
        gallery_table.GalleryTable(str(place)).opened(),
    ):
        raise panic("range end index 9\nout of range")
    assert "\n" not in str(raised.value)
    with pytest.raises(KeyboardInterrupt), gallery_table.GalleryTable(str(place)).opened():
        raise KeyboardInterrupt
