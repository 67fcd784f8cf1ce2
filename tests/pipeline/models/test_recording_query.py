"""Which recordings a path means, however it is written, and under which name the speech is kept."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from components.errors import SwarError
from components.recordings.acoustics import AcousticStatistics
from components.recordings.listing import Recording
from components.speech_example_gen.planning import RecordingSummary, without_duplicates
from pipeline.models.recording_query import RecordingQuery

ACOUSTICS = AcousticStatistics(*[0.0] * len(AcousticStatistics.__dataclass_fields__))


def _recording(name: str, path: str) -> Recording:
    return Recording(path, "asha", "female", name, None, None, 1, None)


def _rows(*named: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"recording": name, "path": path} for name, path in named]


def _found(asked: str | Path, *named: tuple[str, str]) -> list[str]:
    return [row["recording"] for row in RecordingQuery(str(asked)).among(_rows(*named), [])]


def _kept_of(asked: str, *same_speech: tuple[str, str]) -> list[str]:
    """Asks where all recordings have the same speech, so that but the first one is trained on."""
    surveyed = [RecordingSummary(_recording(*each), 9, "digest", ACOUSTICS) for each in same_speech]
    kept, rejects = without_duplicates(surveyed)
    rows = _rows(*((item.recording.recording, item.recording.path) for item in kept))
    found = RecordingQuery(asked).among(rows, [asdict(reject) for reject in rejects])
    return [row["recording"] for row in found]


@pytest.mark.parametrize("asked", ["/d/wav/a.wav", "/d/wav", "/d/lists/../wav/", "../wav/a.wav"])
def test_a_manifests_path_is_found_however_it_is_written(asked: str) -> None:
    named = [("../wav/a.wav", "/d/lists/../wav/a.wav"), ("../b.wav", "/d/lists/../b.wav")]
    assert _found(asked, *named) == ["../wav/a.wav"]


def test_a_relative_path_starts_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _found("asha", ("1", f"{tmp_path}/asha/1.wav"), ("2", f"{tmp_path}/asha2.wav")) == ["1"]


@pytest.mark.parametrize("asked", ["gs://b/data/asha", "gs://b/data/asha/", "gs://b/data/asha/1"])
def test_a_uri_is_no_path(asked: str) -> None:
    named = [("asha/1", "gs://b/data/asha/1"), ("ashas/2", "gs://b/data/ashas/2")]
    assert _found(asked, *named) == ["asha/1"]


def test_a_link_and_where_it_leads_are_the_same(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    (real / "asha").mkdir(parents=True)
    link.symlink_to(real)
    for stored in (real, link):
        for asked in (real / "asha/1.wav", link / "asha/1.wav", real / "asha", link):
            assert _found(asked, ("asha/1.wav", f"{stored}/asha/1.wav")) == ["asha/1.wav"]


def test_up_from_a_link_is_where_the_system_goes(tmp_path: Path) -> None:
    (tmp_path / "other/lists").mkdir(parents=True)
    (tmp_path / "lists").symlink_to(tmp_path / "other/lists")
    stored = ("../wav/a.wav", f"{tmp_path}/lists/../wav/a.wav")
    assert _found(tmp_path / "other/wav/a.wav", stored) == ["../wav/a.wav"]


@pytest.mark.parametrize(
    ("asked", "kept", "duplicate"),
    [
        ("/d/asha/2.wav", ("asha/1.wav", "/d/asha/1.wav"), ("asha/2.wav", "/d/asha/2.wav")),
        ("/d/asha/b", ("asha/a/1.wav", "/d/asha/a/1.wav"), ("asha/b/1.wav", "/d/asha/b/1.wav")),
        ("gs://b/d/s/2", ("s/1", "gs://b/d/s/1"), ("s/2", "gs://b/d/s/2")),
        ("/d/wav/2", ("../wav/1#-2", "/d/m/../wav/1"), ("../wav/2#3-4.5", "/d/m/../wav/2")),
        ("/e/2.wav", ("/d/1.wav", "/d/1.wav"), ("/e/2.wav", "/e/2.wav")),
        ("call 2", ("call 1", "/d/1.wav"), ("call 2", "/d/2.wav")),
        ("/d/it's/2", ("it's/1", "/d/it's/1"), ("it's/2", "/d/it's/2")),
    ],
    ids=["file", "folder", "uri", "cut", "absolute", "name of its own", "quote"],
)
def test_a_duplicate_leads_to_the_recording_that_was_kept(
    asked: str, kept: tuple[str, str], duplicate: tuple[str, str]
) -> None:
    assert _kept_of(asked, kept, duplicate) == [kept[0]]
    assert _kept_of(asked, kept) == []


def test_names_of_their_own_lie_nowhere() -> None:
    assert _kept_of(".", ("call 1", "/d/1.wav"), ("call 2", "/d/2.wav")) == []


def test_other_rejects_were_not_trained_on() -> None:
    reject = {
        "file": "asha/2.wav",
        "reason": "silent",
        "detail": "the same speech as 'asha/1.wav'",
        "same_as": None,
    }
    asked = RecordingQuery("/d/asha/2.wav")
    assert asked.among(_rows(("asha/1.wav", "/d/asha/1.wav")), [reject]) == []


def test_rejects_of_an_earlier_version_do_not_say_it() -> None:
    reject = {"file": "asha/2.wav", "reason": "duplicate", "detail": "the same speech as 'asha/1'"}
    with pytest.raises(SwarError, match="written by another version of swar"):
        RecordingQuery("/d/asha/2.wav").among(_rows(("asha/1", "/d/asha/1.wav")), [reject])


@pytest.mark.parametrize("asked", ["/d/Th\u0101pa", "/d/Tha\u0304pa/1.wav", "Th\u0101pa/1.wav"])
def test_letter_and_accent_may_be_apart(asked: str) -> None:
    for stored in ("Th\u0101pa/1.wav", "Tha\u0304pa/1.wav"):
        assert _found(asked, (stored, f"/d/{stored}")) == [stored]
