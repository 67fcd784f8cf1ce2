import concurrent.futures
import contextlib
import dataclasses
import gc
import multiprocessing
import shutil
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

from components.errors import SwarError
from serving import gallery_table
from serving.answers import Embedding, Vector
from serving.enrolled import Enrolment
from serving.gallery import Gallery
from serving.gallery_table import GalleryTable, retried
from serving.speaker_names import speaker_name
from tests.serving.support_gallery import MODEL, OTHER_MODEL, enrolment, fill, unit

ODD_NAMES = [
    "आमा कुमारी श्रेष्ठ",
    "क्\u200dष",
    "O'Brien",
    '"); DROP TABLE enrolments; --',
    "back\\slash %_* [x] {y}",
    "' OR speaker IS NOT NULL OR '' = '",
    "🎤",
]


def _files_with(folder: Path, wanted: bytes) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if wanted in path.read_bytes()]


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "gallery")


def test_a_speaker_is_found_in_another_session(gallery: Gallery) -> None:
    fill(gallery, 5)
    again = Gallery(gallery.uri)
    near: Vector = unit(3) + 0.01 * unit(99)
    nearest = again.nearest(near, MODEL, top=2)
    assert nearest[0].speaker == "speaker 0003"
    assert nearest[0].distance == pytest.approx(np.linalg.norm(near - unit(3)), rel=1e-5)
    assert nearest[0].distance < nearest[1].distance
    np.testing.assert_array_equal(nearest[0].reference, unit(3))
    assert len(again.nearest(near, MODEL, top=50)) == 5


def test_the_reference_is_the_recordings_mean_of_norm_1(gallery: Gallery) -> None:
    fill(gallery, 2)
    gallery.enroll("speaker 0001", [enrolment(10), enrolment(11)], keep_audio=False)
    mean = (unit(1) + unit(10) + unit(11)) / 3
    expected = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(gallery.reference("speaker 0001", MODEL), expected, atol=1e-6)
    found = gallery.nearest(expected, MODEL, top=1)[0]
    assert found.speaker == "speaker 0001"
    np.testing.assert_allclose(found.reference, expected, atol=1e-6)
    assert found.distance == pytest.approx(0.0, abs=1e-5)


def test_vectors_that_are_not_unit_vectors_are_not_normalised(gallery: Gallery) -> None:
    long = [
        dataclasses.replace(
            each, embedding=dataclasses.replace(each.embedding, vector=each.embedding.vector * 5)
        )
        for each in (enrolment(1), enrolment(2))
    ]
    gallery.enroll("a", long, keep_audio=False)
    mean = np.float32(2.5) * (unit(1) + unit(2))
    np.testing.assert_allclose(gallery.reference("a", MODEL), mean, rtol=1e-5)
    np.testing.assert_allclose(gallery.nearest(mean, MODEL, top=1)[0].reference, mean, rtol=1e-5)


def test_the_same_recording_counts_once(gallery: Gallery) -> None:
    assert gallery.enroll("a", [enrolment(1), enrolment(2)], keep_audio=False) == 2
    assert gallery.enroll("a", [enrolment(2), enrolment(3)], keep_audio=False) == 1
    assert gallery.enroll("b", [enrolment(1)], keep_audio=False) == 1
    assert [(each.name, each.recordings) for each in gallery.speakers()] == [("a", 3), ("b", 1)]


def test_speakers_tells_what_is_known(gallery: Gallery) -> None:
    gallery.enroll("b", [enrolment(1)], keep_audio=True)
    gallery.enroll("a", [enrolment(2)], keep_audio=True)
    gallery.enroll("a", [enrolment(3)], keep_audio=False)
    first, second = gallery.speakers()
    assert (first.name, first.speech_seconds, first.audio_kept) == ("a", 12.0, False)
    assert (second.name, second.recordings, second.audio_kept) == ("b", 1, True)
    assert second.last_enrolled < first.last_enrolled


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_just_names(gallery: Gallery, name: str) -> None:
    fill(gallery, 3)
    gallery.enroll(name, [enrolment(50)], keep_audio=False)
    assert len(gallery.enrolled(name, MODEL).vectors) == 1
    assert gallery.nearest(unit(50), MODEL, top=1)[0].speaker == speaker_name(name)
    assert gallery.forget(name) == 1
    assert [each.name for each in gallery.speakers()] == [f"speaker {n:04d}" for n in range(3)]


def test_a_name_is_the_same_however_it_is_typed(gallery: Gallery) -> None:
    gallery.enroll(" Zoe\u0308 ", [enrolment(1)], keep_audio=False)
    gallery.enroll("Zo\u00eb", [enrolment(2)], keep_audio=False)
    assert [(each.name, each.recordings) for each in gallery.speakers()] == [("Zo\u00eb", 2)]


@pytest.mark.parametrize(
    "name",
    ["", "  ", "two\nlines", "a\x00b", "a\tb", "a\x1b[31mb", "a\u202eb", "\ud800", "x" * 201],
)
def test_names_that_nobody_can_read_are_refused(gallery: Gallery, name: str) -> None:
    with pytest.raises(SwarError, match="name"):
        gallery.enroll(name, [enrolment(1)], keep_audio=False)
    assert not gallery.exists()


@pytest.mark.parametrize("others", [0, 3, 100])
def test_a_forgotten_speaker_is_gone_from_the_disk(gallery: Gallery, others: int) -> None:
    folder = Path(gallery.uri)
    fill(gallery, min(others, 3), keep_audio=True)
    crowd = [enrolment(1000 + n) for n in range(others)]
    if crowd:
        gallery.enroll("crowd", crowd, keep_audio=True)
    gone = [enrolment(500), enrolment(501)]
    gallery.enroll("Gone Girl", gone[:1], keep_audio=True)
    gallery.enroll("Gone Girl", gone[1:], keep_audio=True)
    secrets = [b"Gone Girl"]
    for each in gone:
        secrets += [each.embedding.vector.tobytes(), each.wav[100:200], each.source.encode()]
    assert all(_files_with(folder, secret) for secret in secrets)
    assert gallery.forget("Gone Girl") == 2
    assert {secret: _files_with(folder, secret) for secret in secrets} == {
        secret: [] for secret in secrets
    }
    assert sum(each.recordings for each in gallery.speakers()) == others + min(others, 3)
    for each in crowd:
        assert _files_with(folder, each.wav[100:200])


def test_one_of_many_in_a_single_file_is_gone_from_the_disk(gallery: Gallery) -> None:
    # LanceDB's own compaction leaves a file alone of which less than a tenth is deleted.
    gallery.enroll("crowd", [enrolment(n) for n in range(40)], keep_audio=True)
    for seed, name in ((50, "Early Bird"), (51, "Gone Girl")):
        gallery.enroll(name, [enrolment(seed)], keep_audio=True)
    gallery.forget("Early Bird")  # joins all files
    gallery.forget("Gone Girl")
    gone = enrolment(51)
    secrets = [b"Gone Girl", gone.wav[100:200], gone.embedding.vector.tobytes()]
    assert [_files_with(Path(gallery.uri), secret) for secret in secrets] == [[], [], []]
    assert [(each.name, each.recordings) for each in gallery.speakers()] == [("crowd", 40)]


class _KilledError(Exception):
    pass


def _secrets_of(gone: Enrolment, name: str = "Gone Girl") -> list[bytes]:
    return [name.encode(), gone.wav[100:200], gone.embedding.vector.tobytes()]


def _enroll_crowd_and_one(gallery: Gallery, gone: Enrolment) -> None:
    """Into one file, of which the first row is less than a tenth."""
    gallery.enroll("Gone Girl", [gone], keep_audio=True)
    gallery.enroll("crowd", [enrolment(n) for n in range(40)], keep_audio=False)
    gallery.enroll("zz", [enrolment(51)], keep_audio=False)
    gallery.forget("zz")  # joins all files


def _replace(gallery: Gallery) -> None:
    (recording,) = gallery.recordings("Gone Girl")
    gallery.replace({recording.id: enrolment(50, model=OTHER_MODEL).embedding})


def _seal_broken_off(gallery: Gallery) -> None:
    write = gallery._write

    def write_or_break_off(table: Any, rows: list[dict[str, Any]]) -> None:
        if rows[0]["speaker"] != "Gone Girl":
            raise _KilledError
        write(table, rows)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_KilledError):
        patch.setattr(gallery, "_write", write_or_break_off)
        patch.setattr("serving.gallery._ROWS_AT_ONCE", 1)
        gallery.seal()


@pytest.mark.parametrize("rewrite", [_replace, _seal_broken_off])
def test_what_was_written_anew_is_forgotten_in_its_former_file_too(
    gallery: Gallery, rewrite: Callable[[Gallery], None]
) -> None:
    gone = enrolment(50)
    _enroll_crowd_and_one(gallery, gone)
    rewrite(gallery)
    again = Gallery(gallery.uri)
    assert again.forget("Gone Girl") == 1
    assert [_files_with(Path(gallery.uri), each) for each in _secrets_of(gone)] == [[], [], []]
    assert [(each.name, each.recordings) for each in again.speakers()] == [("crowd", 40)]


def _killed(*_: object) -> None:
    raise _KilledError


@pytest.mark.parametrize("way", ["name", "recording", "expired", "opt-out"])
def test_forgetting_that_was_broken_off_is_finished_by_the_next(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    gone = enrolment(50)
    _enroll_crowd_and_one(gallery, gone)
    (recording,) = gallery.recordings("Gone Girl")
    if way == "recording":
        gallery.enroll("Gone Girl", [enrolment(52)], keep_audio=False)
    elif way == "expired":
        gallery.forget("Gone Girl")
        past = datetime(2020, 1, 1, tzinfo=UTC)
        gallery.enroll("Gone Girl", [gone], keep_audio=True, expires_at=past)
    forget: Callable[[], object] = {
        "name": lambda: gallery.forget("Gone Girl"),
        "recording": lambda: gallery.forget("Gone Girl", recording=recording.id),
        "expired": gallery.forget_expired,
        "opt-out": lambda: gallery.opt_out("Gone Girl"),
    }[way]
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        patch.setattr(gallery_table.GalleryTable, "clean", _killed)
        forget()
    wav, vector = _secrets_of(gone)[1:]
    assert _files_with(Path(gallery.uri), wav)
    if way in ("name", "recording"):
        with pytest.raises(SwarError, match="Gone Girl"):
            forget()
    else:
        assert not forget()
    assert [_files_with(Path(gallery.uri), each) for each in (wav, vector)] == [[], []]
    assert gallery.speakers()[-1].recordings == 40


def test_what_a_broken_off_write_left_goes_too(gallery: Gallery) -> None:
    fill(gallery, 2)
    orphan = Path(gallery.uri) / "enrolments.lance" / "data" / ("0" * 50 + ".lance")
    orphan.write_bytes(b"speaker 0001")
    gallery.forget("speaker 0001")
    assert _files_with(Path(gallery.uri), b"speaker 0001") == []


def test_who_is_forgotten_is_found_no_more_by_another_session(gallery: Gallery) -> None:
    fill(gallery, 3)
    other = Gallery(gallery.uri)
    assert other.nearest(unit(1), MODEL, top=1)[0].speaker == "speaker 0001"
    gallery.forget("speaker 0001")
    assert other.nearest(unit(1), MODEL, top=1)[0].speaker != "speaker 0001"
    for name in ("speaker 0000", "speaker 0002"):
        gallery.forget(name)
    assert other.nearest(unit(1), MODEL, top=1) == []


def test_a_gallery_that_takes_the_place_of_another_is_read_anew(gallery: Gallery) -> None:
    fill(gallery, 2)
    assert len(gallery.nearest(unit(0), MODEL, top=5)) == 2
    shutil.rmtree(gallery.uri)
    gallery.enroll("somebody else", [enrolment(7)], keep_audio=False)
    assert [each.speaker for each in gallery.nearest(unit(0), MODEL, top=5)] == ["somebody else"]


def test_nobody_of_that_name(gallery: Gallery) -> None:
    fill(gallery, 1)
    for ask in (lambda: gallery.forget("x"), lambda: gallery.reference("x", MODEL)):
        with pytest.raises(SwarError, match=r"nobody named 'x' is in the gallery .*swar speakers"):
            ask()


def test_no_gallery_is_an_error_and_makes_none(gallery: Gallery) -> None:
    for ask in (
        gallery.speakers,
        lambda: gallery.forget("x"),
        lambda: gallery.nearest(unit(1), MODEL, top=1),
    ):
        with pytest.raises(SwarError, match=r"there is no gallery at .*swar enroll"):
            ask()
    assert not Path(gallery.uri).exists()


def test_another_models_embeddings_are_refused(gallery: Gallery) -> None:
    fill(gallery, 2)
    wanted = f"made with the model {MODEL}, and {OTHER_MODEL} is in use.*swar reenroll"
    for ask in (
        lambda: gallery.nearest(unit(1), OTHER_MODEL, top=1),
        lambda: gallery.reference("speaker 0001", OTHER_MODEL),
        lambda: gallery.enroll("x", [enrolment(9, model=OTHER_MODEL)], keep_audio=False),
    ):
        with pytest.raises(SwarError, match=wanted):
            ask()
    assert len(gallery.speakers()) == 2


def test_another_model_may_have_longer_vectors(gallery: Gallery) -> None:
    fill(gallery, 3, keep_audio=True)
    stale = gallery.stale(OTHER_MODEL)
    assert (len(stale.kept_ids), stale.speakers_without_audio) == (3, [])
    kept = gallery.kept_audio(stale.kept_ids)
    assert {speaker for _, speaker, _ in kept} == {each.name for each in gallery.speakers()}
    assert {wav for _, _, wav in kept} == {enrolment(n).wav for n in range(3)}
    gallery.replace(
        {
            identifier: Embedding(unit(int(speaker[-4:]), 40), 7.0, "ok", OTHER_MODEL)
            for identifier, speaker, _ in kept
        }
    )
    assert gallery.nearest(unit(2, 40), OTHER_MODEL, top=1)[0].speaker == "speaker 0002"
    assert gallery.speakers()[0].speech_seconds == 7.0
    assert gallery.stale(OTHER_MODEL).kept_ids == []


def test_many_small_writes_are_joined(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_table, "_MAX_FRAGMENTS", 3)
    fill(gallery, 6)
    assert len(gallery.speakers()) == 6
    table: Any = lancedb.connect(gallery.uri).open_table("enrolments")
    assert table.stats()["fragment_stats"]["num_fragments"] <= 3


def _write_some(uri: str, writer: int, forgets: bool) -> None:
    gallery = Gallery(uri)
    for number in range(6):
        seed = 100 * writer + number
        gallery.enroll(f"w{writer} n{number}", [enrolment(seed)], keep_audio=True)
        if forgets and number % 3 == 2:
            gallery.forget(f"w{writer} n{number}")


@pytest.mark.parametrize("forgets", [False, True])
def test_writers_at_once_lose_nothing(gallery: Gallery, forgets: bool) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_some, args=(gallery.uri, writer, forgets and writer == 0))
        for writer in range(2)
    ]
    for writer in writers:
        writer.start()
    _write_some(gallery.uri, 2, False)
    for writer in writers:
        writer.join(300)
    assert [writer.exitcode for writer in writers] == [0, 0]
    forgotten = {"w0 n2", "w0 n5"} if forgets else set()
    expected = {f"w{writer} n{number}" for writer in range(3) for number in range(6)} - forgotten
    assert {each.name for each in gallery.speakers()} == expected
    stale = gallery.stale(OTHER_MODEL)
    assert len(gallery.kept_audio(stale.kept_ids)) == len(expected)


def test_one_recording_that_many_enrol_at_once_is_there_once(gallery: Gallery) -> None:
    """LanceDB itself would take it from each of them."""
    fill(gallery, 1)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for seed in range(10, 18):
            start = threading.Barrier(4)

            def enrol(start: threading.Barrier = start, seed: int = seed) -> int:
                start.wait(60)
                return Gallery(gallery.uri).enroll("asha", [enrolment(seed)], keep_audio=False)

            assert sum(each.result(60) for each in [threads.submit(enrol) for _ in range(4)]) == 1
    assert len(gallery.recordings("asha")) == 8


def test_who_is_refused_takes_no_recording_back_that_another_has_enrolled_meanwhile(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no lock keeps them apart, as on object storage."""
    fill(gallery, 1)
    check = gallery._check_key

    def overtaken(table: Any) -> None:
        monkeypatch.setattr(gallery, "_check_key", check)
        with monkeypatch.context() as patch:
            patch.setattr(GalleryTable, "_lock", lambda *_: contextlib.nullcontext())
            Gallery(gallery.uri).enroll("asha", [enrolment(11), enrolment(12)], keep_audio=False)
        check(table)

    monkeypatch.setattr(gallery, "_check_key", overtaken)
    with pytest.raises(SwarError, match="'asha' was enrolled by somebody else meanwhile"):
        gallery.enroll("asha", [enrolment(11), enrolment(13)], keep_audio=False, compared_with=[])
    assert {each.source for each in gallery.recordings("asha")} == {
        enrolment(11).source,
        enrolment(12).source,
    }


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_a_commit_that_is_overtaken_is_run_again_and_keeps_nothing_of_before(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Not even until Python looks for circles of objects."""
    attempts: list[weakref.ref[Any]] = []
    pauses: list[int] = []

    def pause(_: float) -> None:
        pauses.append(sum(each() is not None for each in attempts))

    monkeypatch.setattr("time.sleep", pause)

    def commit(rows: int) -> int:
        recordings = np.zeros(rows)
        attempts.append(weakref.ref(recordings))
        if len(attempts) < 3:
            raise error("Retryable commit Conflict for version 36")
        return rows

    gc.disable()
    try:
        assert retried(commit, 5) == 5
        assert pauses == [0, 0]  # none of the recordings is held meanwhile
    finally:
        gc.enable()
    with pytest.raises(error, match="another fault"):
        retried(_fail, error("another fault"))


def _fail(error: Exception) -> None:
    raise error


def test_a_gallery_without_bandwidths_is_opened_and_gets_the_column(gallery: Gallery) -> None:
    fill(gallery, 3)
    before = lancedb.connect(gallery.uri).open_table(gallery_table.ENROLMENTS)
    before.drop_columns(["bandwidth_hz"])
    again = Gallery(gallery.uri)
    assert [each.name for each in again.speakers()] == [f"speaker {at:04d}" for at in range(3)]
    assert again.bandwidths_hz("speaker 0001") == []
    again.enroll("speaker 0001", [enrolment(10, bandwidth_hz=4_000.0)], keep_audio=False)
    assert again.bandwidths_hz("speaker 0001") == [4_000.0]
    assert [each.bandwidth_hz for each in again.recordings("speaker 0001")] == [None, 4_000.0]
    assert again.forget("speaker 0001") == 2
    assert _files_with(Path(gallery.uri), b"speaker 0001") == []
    assert _files_with(Path(gallery.uri), b"speaker 0002") != []
    assert _files_with(Path(gallery.uri), unit(1).tobytes()) == []


def test_speakers_of_another_model_are_named_and_not_compared(gallery: Gallery) -> None:
    fill(gallery, 3)
    gallery.replace(
        {gallery.recordings("speaker 0001")[0].id: enrolment(1, model=OTHER_MODEL).embedding}
    )
    assert [each.speaker for each in gallery.nearest(unit(1), OTHER_MODEL, 5)] == ["speaker 0001"]
    assert gallery.speakers_of_other_models(OTHER_MODEL) == ("speaker 0000", "speaker 0002")
    assert gallery.speakers_of_other_models(MODEL) == ("speaker 0001",)
    with pytest.raises(SwarError, match="made with the model"):
        gallery.nearest(unit(1), "a third", 5)
