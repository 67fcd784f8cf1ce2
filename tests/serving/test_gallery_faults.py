"""A gallery whose store fails: one line for the user, and no fault of the program is hidden."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import SwarError
from serving.gallery import Gallery
from serving.gallery_table import GalleryTable
from tests.serving.support_gallery import MODEL, enrolment, fill, unit


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "gallery")


def test_a_place_that_cannot_hold_one_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below", "nonsense://bucket/gallery"):
        with pytest.raises(SwarError, match=r"the gallery .* cannot be used: ") as raised:
            Gallery(place).enroll("a", [enrolment(1)], keep_audio=False)
        assert "\n" not in str(raised.value)


def _garbage(table: Path) -> None:
    for file in (table / "data").iterdir():
        file.write_bytes(b"\xff" * file.stat().st_size)


def _lost(table: Path) -> None:
    shutil.rmtree(table / "data")


def _not_to_be_written(table: Path) -> None:
    shutil.rmtree(table / "_transactions")
    (table / "_transactions").touch()  # as root may write everywhere else


@pytest.mark.parametrize("damage", [_garbage, _lost, _not_to_be_written])
def test_a_store_that_fails_later_is_one_line(
    gallery: Gallery, damage: Callable[[Path], None]
) -> None:
    fill(gallery, 2)
    damage(Path(gallery.uri) / "enrolments.lance")
    asked: list[Callable[[], object]] = [
        lambda: gallery.enroll("a", [enrolment(9)], keep_audio=False),
        lambda: gallery.forget("speaker 0001"),
    ]
    if damage is not _not_to_be_written:
        asked += [gallery.speakers, lambda: gallery.nearest(unit(1), MODEL, top=1)]
    for ask in asked:
        with pytest.raises(SwarError, match=r"the gallery .* cannot be used: .*--gallery") as error:
            ask()
        assert "\n" not in str(error.value)
        assert ".rs:" not in str(error.value)


def test_a_damaged_manifest_of_the_ledger_is_one_line(gallery: Gallery) -> None:
    """LanceDB's Rust panics."""
    fill(gallery, 2)
    for file in (Path(gallery.uri) / "events.lance" / "_versions").iterdir():
        file.write_bytes(file.read_bytes().replace(b"string", b"sTring"))
    for ask in (gallery.ledger.events, lambda: gallery.forget("speaker 0001")):
        with pytest.raises(SwarError, match=r"the gallery .* cannot be used: ") as error:
            ask()
        assert "\n" not in str(error.value)


def test_the_lock_is_no_link_and_no_pipe(gallery: Gallery, tmp_path: Path) -> None:
    fill(gallery, 1)
    lock = Path(gallery.uri) / ".lock"
    lock.unlink()
    os.mkfifo(lock)
    assert gallery.names() == ["speaker 0000"]  # a pipe would be waited for
    lock.unlink()
    elsewhere = tmp_path / "elsewhere"
    lock.symlink_to(elsewhere)
    with pytest.raises(SwarError, match=r"the gallery .* cannot be used: "):
        gallery.names()
    assert not elsewhere.exists()


@pytest.mark.parametrize("error", [ValueError("ours"), RuntimeError("ours"), RecursionError()])
def test_a_fault_of_the_program_is_not_the_stores(gallery: Gallery, error: Exception) -> None:
    fill(gallery, 1)
    with pytest.raises(type(error)) as raised, GalleryTable(gallery.uri).opened():
        raise error
    assert raised.value is error
    odd = dataclasses.replace(enrolment(1), source="\udcff")
    with pytest.raises(UnicodeEncodeError):
        gallery.enroll("a", [odd], keep_audio=False)


def test_a_consent_that_is_no_utf_8_is_noted(tmp_path: Path) -> None:
    """As an argument of the command may be."""
    gallery = Gallery(tmp_path / "gallery")
    gallery.enroll("Asha", [enrolment(1)], keep_audio=False, consent="caf\udce9")
    assert gallery.speakers()[0].consent == "caf\\udce9"
