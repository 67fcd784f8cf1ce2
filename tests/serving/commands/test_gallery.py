"""Enrol, list, forget, seal: the commands around a gallery."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.serving.commands.support_commands import HIGH, LOW, Swar
from tests.serving.support_endpoint import FakeModel

GALLERY = Path("home", "swar", "gallery")


def test_enrolled_speakers_are_identified(swar: Swar, recording: Any) -> None:
    status, out, _ = swar("enroll", "[bold]Low[/bold]", recording("a.wav", LOW))
    assert status == 0
    assert out.startswith("[bold]Low[/bold]: 1 new recording, 6.0 s of speech in all\n")
    assert "at most" in out
    assert "warning" not in out
    assert GALLERY.is_dir()
    status, out, _ = swar("identify", recording("query.wav", LOW, 3.0))
    assert (status, out.splitlines()[0]) == (0, "[bold]Low[/bold]")
    status, out, _ = swar("identify", recording("stranger.wav", HIGH, 3.0))
    assert (status, out.splitlines()[0]) == (1, "unknown")
    assert "different" in out


def test_enroll_warns_of_a_file_that_does_not_fit(swar: Swar, recording: Any) -> None:
    files = [recording("a.wav", LOW, 3.0), recording("bb.wav", LOW, 3.0)]
    files.append(recording("other.wav", HIGH, 3.0))
    status, _, err = swar("enroll", "Low", *files)
    assert status == 2
    assert "'Low' is not enrolled: the model hears another speaker" in err and "other.wav" in err
    status, out, _ = swar("enroll", "Low", *files, "--force")
    assert status == 0
    assert "warning: the model hears another speaker than in the rest in" in out
    another = recording("another.wav", HIGH, 3.0)
    status, out, _ = swar("enroll", "Low", another, "--json", "--force")
    report = json.loads(out)
    assert report["consistent"] is False
    assert [part["source"] for part in report["parts"]] == ["another.wav"]


def test_too_little_speech(swar: Swar, recording: Any) -> None:
    status, out, err = swar("enroll", "Low", recording("a.wav", LOW, 3.0))
    assert (status, out) == (2, "")
    assert "3.0 s of speech are too little to enrol 'Low': give at least 5 s" in err


def test_speakers_and_forget(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW), "--keep-audio")
    swar("enroll", "High", recording("b.wav", HIGH))
    status, out, _ = swar("speakers")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["speaker", "High", "Low"]
    listed = json.loads(swar("speakers", "--json")[1])
    assert [(each["name"], each["audio_kept"]) for each in listed] == [
        ("High", False),
        ("Low", True),
    ]
    status, out, _ = swar("forget", "Low")
    assert (status, out.splitlines()[0]) == (0, "Low is forgotten: 1 recording removed")
    assert "not touched: " in out and "backups" in out
    status, _, err = swar("forget", "Low")
    assert status == 2
    assert "nobody named 'Low'" in err
    assert json.loads(swar("forget", "High", "--json")[1]) == {"speaker": "High", "recordings": 1}
    assert swar("speakers")[:2] == (0, "nobody is enrolled\n")


def test_one_recording_is_listed_and_forgotten(swar: Swar, recording: Any) -> None:
    swar(
        "enroll", "Low", recording("a.wav", LOW), "--consent", "form 12", "--expires", "2099-01-31"
    )
    swar("enroll", "Low", recording("bb.wav", LOW))
    status, out, _ = swar("speakers", "Low")
    assert status == 0
    assert "a.wav" in out and "2099-01-31" in out and "form 12" in out
    first, second = json.loads(swar("speakers", "Low", "--json")[1])
    assert (first["source"], first["consent"]) == ("a.wav", "form 12")
    assert first["expires_at"] == "2099-01-31T00:00:00+00:00"
    status, out, _ = swar("forget", "Low", "--recording", first["id"][:12])
    assert (status, out.splitlines()[0]) == (0, "1 recording of Low is removed")
    assert "is forgotten" not in out
    assert [each["id"] for each in json.loads(swar("speakers", "Low", "--json")[1])] == [
        second["id"]
    ]
    assert swar("forget", "--expired")[:2] == (0, "0 recordings had expired: removed\n")
    for wrong in ((), ("Low", "--expired"), ("--expired", "--recording", "x")):
        assert swar("forget", *wrong)[0] == 2


def test_recordings_that_would_never_be_used_are_not_enrolled(swar: Swar, recording: Any) -> None:
    file = recording("a.wav", LOW)
    for day in ("2020-01-31", f"{datetime.now(UTC):%Y-%m-%d}"):
        status, out, err = swar("enroll", "Low", file, "--expires", day)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"--expires {day} is no later day than today (UTC)" in err
    assert not GALLERY.exists()


def test_a_name_that_looks_like_another_needs_force(swar: Swar, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW))
    status, _, err = swar("enroll", "L\u043ew", recording("b.wav", HIGH))
    assert status == 2
    assert "looks like 'Low', who is enrolled" in err
    status, out, _ = swar("enroll", "L\u043ew", recording("b.wav", HIGH), "--force")
    assert status == 0
    assert "warning: the name looks like 'Low', who is enrolled" in out


def test_a_gallery_is_sealed(swar: Swar, recording: Any) -> None:
    file, query = recording("a.wav", LOW), recording("q.wav", LOW, 3.0)
    swar("enroll", "Low", file)
    status, out, _ = swar("gallery-key", "key")
    assert status == 0
    assert "keep a copy elsewhere" in out
    assert swar("seal", "--gallery-key", "key")[:2] == (
        0,
        "1 recording sealed with the first key\n",
    )
    status, _, err = swar("identify", query)
    assert status == 2
    assert "the gallery is sealed: name its key with --gallery-key" in err
    assert swar("identify", query, "--gallery-key", "key")[0] == 0
    assert swar("verify", query, "--speaker", "Low", "--gallery-key", "key")[0] == 0


def test_who_opted_out_is_refused_and_the_ledger_tells_it(swar: Swar, recording: Any) -> None:
    file = recording("a.wav", LOW)
    swar("enroll", "Low", file)
    assert swar("opt-out", "lOW")[:2] == (
        0,
        "lOW is not enrolled from now on\nLow is forgotten\n",
    )
    assert swar("speakers")[:2] == (0, "nobody is enrolled\n")
    assert json.loads(swar("opt-out", "High", "--json")[1]) == {
        "speaker": "High",
        "opted_out": True,
        "forgotten": [],
    }
    status, _, err = swar("enroll", "low", file)
    assert status == 2
    assert "'low' has opted out" in err
    assert swar("opt-out", "Low", "--undo")[0] == 0
    assert swar("enroll", "Low", file)[0] == 0
    actions = [
        json.loads(line)["action"] for line in swar("ledger", "Low", "--json")[1].splitlines()
    ]
    assert actions == ["enrol", "opt-out", "forget", "opt-in", "enrol"]
    assert "opt-out" in swar("ledger")[1]


def test_what_commands_write_is_for_their_user_alone(swar: Swar, recording: Any) -> None:
    os.umask(0o022)
    data = Path("data")
    data.mkdir()
    recording("a.wav", LOW).rename(data / "a.wav")
    swar("embed", "data", "--output", "embeddings.parquet")
    swar("enroll", "Low", data / "a.wav", "--keep-audio")
    written = [Path("embeddings.parquet"), *Path("home").rglob("*")]
    assert len(written) > 5
    assert [path for path in written if path.stat().st_mode & 0o077] == []


def test_reenroll(swar: Swar, model: FakeModel, recording: Any) -> None:
    swar("enroll", "Low", recording("a.wav", LOW), "--keep-audio")
    model.digest = "model-2"
    status, _, err = swar("identify", recording("q.wav", LOW, 3.0))
    assert status == 2
    assert "swar reenroll" in err
    assert swar("reenroll")[:2] == (
        0,
        "1 recording enrolled again: the gallery fits the model\n",
    )
    assert swar("identify", recording("q.wav", LOW, 3.0))[0] == 0
    assert json.loads(swar("reenroll", "--json")[1]) == {"recordings": 0}


def test_the_gallery_that_was_used_is_named(swar: Swar, recording: Any, tmp_path: Path) -> None:
    file, query = recording("a.wav", LOW), recording("q.wav", LOW, 3.0)
    named = f"gallery: {tmp_path / GALLERY}\n"
    assert swar("enrol", "Low", file)[2] == named
    assert GALLERY.stat().st_mode & 0o777 == 0o700
    assert swar("identify", query)[2] == named
    assert swar("identify", query, query, "--json")[2] == named
    assert swar("verify", query, "--speaker", "Low")[2] == named
    assert swar("verify", query, file)[2] == ""
    assert swar("enroll", "Low", file, "--gallery", "people")[2] == "gallery: people\n"


def test_the_environment_names_a_gallery_and_an_option_another(
    swar: Swar, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAR_GALLERY", "team")
    assert swar("enroll", "Low", recording("a.wav", LOW))[2] == "gallery: team\n"
    assert "Low" in swar("speakers")[1]
    assert "no gallery at 'people'" in swar("speakers", "--gallery", "people")[2]
    assert not GALLERY.exists()


def test_a_user_without_a_home_is_asked_for_a_gallery(
    swar: Swar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_data_dir", lambda _: "~/.local/share/swar")
    status, _, err = swar("speakers")
    assert (status, err.count("\n")) == (2, 1)
    assert "no home folder to keep a gallery in: name one, --gallery" in err


def test_enrol_is_enroll(swar: Swar, recording: Any) -> None:
    assert swar("enrol", "Low", recording("a.wav", LOW), "--keep-audio")[0] == 0
    assert swar("reenrol")[:2] == (0, "the gallery fits the model already\n")


def test_the_words_for_nobody_are_no_names(swar: Swar, recording: Any) -> None:
    status, out, err = swar("enroll", "Unknown", recording("a.wav", LOW))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "the name 'Unknown' is what `swar identify` answers" in err
    assert not GALLERY.exists()
