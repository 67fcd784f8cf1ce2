import math
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from components.degradation import telephone
from components.errors import SwarError
from serving import enrolment_gate, recognition
from serving.client import Client
from serving.gallery import Gallery
from tests.serving.support_endpoint import CARD, RATE, FakeModel, grpc_endpoint, voice

LOW, MIDDLE, HIGH = 110.0, 190.0, 320.0


@pytest.fixture
def client(model: FakeModel) -> Iterator[Client]:
    with grpc_endpoint(model) as url, Client(url) as client:
        yield client


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "gallery")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def _recording(folder: Path, name: str, *parts: tuple[float, float]) -> Path:
    """A file of voices one after another, each of a pitch and so many seconds."""
    samples = np.concatenate([voice(pitch, seconds, seed=len(name)) for pitch, seconds in parts])
    soundfile.write(folder / name, samples, RATE)
    return folder / name


def test_who_is_enrolled_is_identified_and_verified(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    report = recognition.enroll(client, gallery, "Low", [_recording(folder, "a.wav", (LOW, 6))])
    recognition.enroll(client, gallery, "High", [_recording(folder, "b.wav", (HIGH, 6))])
    assert (report.speaker, report.added) == ("Low", 1)
    assert report.speech_seconds == pytest.approx(6.0, abs=0.1)
    query = _recording(folder, "query.flac", (LOW, 3))
    found = recognition.identify(client, gallery, query, top=5)
    assert found.speaker == "Low"
    assert [each.speaker for each in found.candidates] == ["Low", "High"]
    assert [each.decision.same_speaker for each in found.candidates] == [True, False]
    assert recognition.verify_speaker(client, gallery, query, "Low").same_speaker
    assert not recognition.verify_speaker(client, gallery, query, "High").same_speaker


def test_who_is_not_enrolled_is_unknown(client: Client, gallery: Gallery, folder: Path) -> None:
    recognition.enroll(client, gallery, "Low", [_recording(folder, "a.wav", (LOW, 6))])
    found = recognition.identify(client, gallery, _recording(folder, "q.wav", (HIGH, 3)), top=5)
    assert found.speaker is None
    assert [each.speaker for each in found.candidates] == ["Low"]
    gallery.forget("Low")
    assert recognition.identify(client, gallery, folder / "q.wav").candidates == ()


def test_only_those_named_are_candidates(client: Client, gallery: Gallery, folder: Path) -> None:
    for name, pitch in (("Low", LOW), ("Zoë Rai", MIDDLE), ("High", HIGH)):
        recognition.enroll(client, gallery, name, [_recording(folder, f"{name}.wav", (pitch, 6))])
    query = _recording(folder, "query.wav", (LOW, 3))
    assert recognition.identify(client, gallery, query).speaker == "Low"
    # As the gallery writes names: NFC, single blanks, each once.
    among = [" Zoe\u0308  Rai ", "High", "High"]
    found = recognition.identify(client, gallery, query, among=among)
    assert found.speaker is None
    assert {each.speaker for each in found.candidates} == {"Zoë Rai", "High"}
    assert recognition.identification_rule(client, gallery).comparisons == 3
    names = recognition.enrolled_names(gallery, among)
    assert names == ("Zoë Rai", "High")
    assert recognition.identification_rule(client, gallery, among=names).comparisons == 2
    only = recognition.identification_rule(client, gallery, among=["Low"])
    assert only == client.rule()
    assert recognition.identify(client, gallery, query, among=["Low"]).speaker == "Low"


def test_a_candidate_who_is_not_enrolled_is_an_error(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    query = _recording(folder, "a.wav", (LOW, 6))
    recognition.enroll(client, gallery, "Low", [query])
    with pytest.raises(SwarError, match=r"nobody named 'Lo' or 'x' is in the gallery .*: `swar sp"):
        recognition.identify(client, gallery, query, among=["Low", "Lo", "x"])
    with pytest.raises(SwarError, match="nobody named 'x' is in the gallery"):
        recognition.enrolled_names(gallery, ["x"])
    with pytest.raises(SwarError, match="name one enrolled speaker at least"):
        recognition.identify(client, gallery, query, among=[])


def test_what_cannot_be_asked_of_a_gallery_is_named(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    query = _recording(folder, "a.wav", (LOW, 6))
    recognition.enroll(client, gallery, "Low", (each for each in [query]))
    with pytest.raises(TypeError, match="a list of names is needed"):
        recognition.identify(client, gallery, query, among="Low")
    for top in (0, -1):
        with pytest.raises(SwarError, match=f"1 at least, not {top}"):
            recognition.identify(client, gallery, query, top=top)
    with pytest.raises(SwarError, match="no recording is given"):
        recognition.enroll(client, gallery, "Low", [])
    with pytest.raises(SwarError, match="the gallery's name is empty"):
        Gallery("")


@pytest.mark.parametrize(
    ("expires_at", "message"),
    [
        (datetime(2999, 1, 1), "has no time zone"),
        (date(2999, 1, 1), "has no time zone"),
        (datetime(2020, 1, 1, tzinfo=UTC), "has passed"),
    ],
)
def test_an_expiry_that_cannot_be_kept_is_refused(
    client: Client, gallery: Gallery, folder: Path, expires_at: Any, message: str
) -> None:
    query = _recording(folder, "a.wav", (LOW, 6))
    with pytest.raises(SwarError, match=message):
        recognition.enroll(client, gallery, "Low", [query], expires_at=expires_at)
    assert not gallery.exists()


def test_of_those_named_only_who_fits_the_model_is_compared(
    client: Client, model: FakeModel, gallery: Gallery, folder: Path
) -> None:
    low, high = (_recording(folder, f"{pitch:.0f}.wav", (pitch, 6)) for pitch in (LOW, HIGH))
    recognition.enroll(client, gallery, "High", [high], keep_audio=True)
    for name in ("Low", "Other"):
        recognition.enroll(client, gallery, name, [low])
    model.digest = "model-2"
    with pytest.raises(SwarError, match="not those of Low, Other"):
        recognition.reenroll(client, gallery)
    assert recognition.identification_rule(client, gallery).comparisons == 1
    found = recognition.identify(client, gallery, high, among=["High", "Low"])
    assert (found.speaker, found.not_compared) == ("High", ("Low",))
    with pytest.raises(SwarError, match="swar reenroll"):
        recognition.identify(client, gallery, high, among=["Low"])


def test_only_the_top_are_shown(client: Client, gallery: Gallery, folder: Path) -> None:
    for name, pitch in (("Low", LOW), ("Middle", MIDDLE), ("High", HIGH)):
        recognition.enroll(client, gallery, name, [_recording(folder, f"{name}.wav", (pitch, 6))])
    found = recognition.identify(client, gallery, folder / "Middle.wav", top=1)
    assert [each.speaker for each in found.candidates] == ["Middle"]


def test_a_file_name_that_is_not_utf8(client: Client, gallery: Gallery, folder: Path) -> None:
    odd = folder / os.fsdecode(b"v\xff.wav")
    _recording(folder, "a.wav", (LOW, 6)).rename(odd)
    report = recognition.enroll(client, gallery, "Low", [odd])
    assert {part.source.partition(" at ")[0] for part in report.parts} == {"v\\xff.wav"}
    assert recognition.identify(client, gallery, odd).speaker == "Low"


def test_too_little_speech_is_refused_with_how_much_there_is(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    short = [_recording(folder, "a.wav", (LOW, 2)), _recording(folder, "bb.wav", (LOW, 2))]
    with pytest.raises(SwarError, match=r"4\.0 s of speech are too little .*at least 5 s"):
        recognition.enroll(client, gallery, "Low", short)
    assert not gallery.exists()
    more = _recording(folder, "ccc.wav", (LOW, 2))
    assert recognition.enroll(client, gallery, "Low", [*short, more]).added == 3
    # The five seconds are the speaker's, not each enrolment's.
    again = recognition.enroll(client, gallery, "Low", [_recording(folder, "dddd.wav", (LOW, 2))])
    assert again.speech_seconds == pytest.approx(8.0, abs=0.1)


def test_one_bad_file_enrols_none(client: Client, gallery: Gallery, folder: Path) -> None:
    good = _recording(folder, "good.wav", (LOW, 6))
    with pytest.raises(SwarError, match=r"short\.wav' is too short"):
        recognition.enroll(
            client, gallery, "Low", [good, _recording(folder, "short.wav", (LOW, 1))]
        )
    assert not gallery.exists()


def test_the_file_of_another_voice_is_told(client: Client, gallery: Gallery, folder: Path) -> None:
    files = [_recording(folder, f"{'a' * n}.wav", (LOW, 3)) for n in (1, 2, 3)]
    files.append(_recording(folder, "other.wav", (HIGH, 3)))
    with pytest.raises(
        SwarError, match=r"'Low' is not enrolled: .* than in the rest in .*other\.wav: .*--force"
    ):
        recognition.enroll(client, gallery, "Low", files)
    assert not gallery.exists()
    report = recognition.enroll(client, gallery, "Low", files, force=True)
    assert {part.source: part.matches for part in report.parts} == {
        "a.wav": True,
        "aa.wav": True,
        "aaa.wav": True,
        "other.wav": False,
    }
    assert report.largest_distance == max(part.distance for part in report.parts)
    assert report.mean_distance < report.largest_distance


def test_what_the_loosest_point_accepts_fits(
    client: Client, gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another day and microphone may lie beyond the threshold, which weighs both errors."""
    low, high = (_recording(folder, f"{pitch:g}.wav", (pitch, 6)) for pitch in (LOW, HIGH))
    card: Any = CARD
    monkeypatch.setitem(card["calibration"]["operating_points"][0], "threshold", 1.9)
    report = recognition.enroll(client, gallery, "Asha", [low, high])
    assert all(part.matches and part.distance > client.rule().accept_up_to for part in report.parts)
    assert len(report.parts) == 2


@pytest.mark.parametrize(
    "turns", [[(LOW, 3), (HIGH, 3)], [(LOW, 1.5), (HIGH, 1.5)] * 2, [(LOW, 6), (HIGH, 3)]]
)
def test_two_people_in_one_file_are_refused(
    client: Client, gallery: Gallery, folder: Path, turns: list[tuple[float, float]]
) -> None:
    of_two = [_recording(folder, "b.wav", *turns)]
    with pytest.raises(
        SwarError, match=r"'Two' is not enrolled: two people .* in b\.wav: .*--force"
    ):
        recognition.enroll(client, gallery, "Two", of_two)
    assert not gallery.exists()
    two = recognition.enroll(client, gallery, "Two", of_two, force=True)
    assert len(two.faults) == 1
    assert not any(part.matches for part in two.parts)
    first, second = (
        set(part.source.removeprefix("b.wav at ").removesuffix(" s").split(", "))
        for part in two.parts
    )
    if len(turns) == 4:
        assert {"0", "3"} <= first
        assert {"1.5", "4.5"} <= second
    elif turns[0][1] == 3:
        assert {"0", "1.5"} <= first
        assert {"3", "4.5"} <= second


def test_one_person_in_one_file_is_enrolled(client: Client, gallery: Gallery, folder: Path) -> None:
    one = recognition.enroll(client, gallery, "One", [_recording(folder, "a.wav", (LOW, 6))])
    assert [part.matches for part in one.parts] == [True, True]
    assert one.faults == ()


def test_a_clipped_file_is_refused(client: Client, gallery: Gallery, folder: Path) -> None:
    clipped = folder / "loud.wav"
    soundfile.write(clipped, np.clip(4.0 * voice(LOW, 6), -1.0, 1.0), RATE)
    with pytest.raises(SwarError, match=r"clipped at the loudest: loud\.wav: .*--force"):
        recognition.enroll(client, gallery, "Low", [clipped])
    report = recognition.enroll(client, gallery, "Low", [clipped], force=True)
    (quality,) = report.qualities
    assert quality is not None
    assert quality.clipped_fraction > 0.05
    assert report.added == 1


def test_who_is_enrolled_under_another_name_is_told(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    first = recognition.enroll(client, gallery, "Asha", [_recording(folder, "a.wav", (LOW, 6))])
    again = recognition.enroll(client, gallery, "Bina", [_recording(folder, "bb.wav", (LOW, 6))])
    other = recognition.enroll(client, gallery, "Chet", [_recording(folder, "ccc.wav", (HIGH, 6))])
    more = recognition.enroll(client, gallery, "Chet", [_recording(folder, "d.wav", (HIGH, 6))])
    assert [len(each.warnings) for each in (first, again, other, more)] == [0, 1, 0, 0]
    assert [each.recordings_before for each in (first, again, other, more)] == [0, 0, 0, 1]
    assert "'Asha', who is enrolled, sounds like the same person" in again.warnings[0]


def test_a_narrow_query_of_a_wide_reference_is_warned_of(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    recognition.enroll(client, gallery, "Low", [_recording(folder, "a.wav", (LOW, 6))])
    samples = telephone(voice(LOW, 3, seed=3), RATE)
    soundfile.write(folder / "line.wav", samples, RATE)
    for warnings in (
        recognition.identify(client, gallery, folder / "line.wav").warnings,
        recognition.verify_speaker(client, gallery, folder / "line.wav", "Low").warnings,
        recognition.enroll(client, gallery, "Low", [folder / "line.wav"], force=True).warnings,
    ):
        assert any("bandwidths differ" in each and "8.0 kHz" in each for each in warnings)
    # Who has a recording of the line too is not warned of it.
    warnings = recognition.identify(client, gallery, folder / "line.wav").warnings
    assert not any("bandwidths differ" in each for each in warnings)


def test_a_further_file_is_compared_with_those_enrolled(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    recognition.enroll(client, gallery, "Low", [_recording(folder, "a.wav", (LOW, 6))])
    other = [_recording(folder, "b.wav", (HIGH, 6))]
    with pytest.raises(SwarError, match=r"'Low' is not enrolled: .* in b\.wav:"):
        recognition.enroll(client, gallery, "Low", other)
    assert [each.source for each in gallery.recordings("Low")] == ["a.wav"]
    report = recognition.enroll(client, gallery, "Low", other, force=True)
    assert [(part.source, part.matches) for part in report.parts] == [("b.wav", False)]


def test_passages_too_few_to_compare(
    client: Client, gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "MIN_ENROLMENT_SECONDS", 1.0)
    report = recognition.enroll(client, gallery, "Low", [_recording(folder, "a.wav", (LOW, 2))])
    assert report.parts == ()
    assert math.isnan(report.mean_distance)


def test_a_new_model_needs_reenroll(
    client: Client, model: FakeModel, gallery: Gallery, folder: Path
) -> None:
    for name, pitch in (("Low", LOW), ("High", HIGH)):
        recording = _recording(folder, f"{name}.wav", (pitch, 6))
        recognition.enroll(client, gallery, name, [recording], keep_audio=True)
    assert recognition.reenroll(client, gallery) == 0
    model.digest, model.bands = "model-2", 40
    with pytest.raises(SwarError, match=r"made with the model model-1.*swar reenroll"):
        recognition.identify(client, gallery, folder / "Low.wav")
    assert recognition.reenroll(client, gallery) == 2
    assert recognition.identify(client, gallery, folder / "Low.wav").speaker == "Low"
    assert recognition.reenroll(client, gallery) == 0


def test_what_was_not_kept_must_be_enrolled_again(
    client: Client, model: FakeModel, gallery: Gallery, folder: Path
) -> None:
    low, high = (_recording(folder, f"{pitch:.0f}.wav", (pitch, 6)) for pitch in (LOW, HIGH))
    recognition.enroll(client, gallery, "Low", [low], keep_audio=True)
    recognition.enroll(client, gallery, "High", [high])
    model.digest = "model-2"
    with pytest.raises(SwarError, match=r"recordings enrolled again: 1; not those of High"):
        recognition.reenroll(client, gallery)
    found = recognition.identify(client, gallery, low)
    assert (found.speaker, found.not_compared) == ("Low", ("High",))
    assert recognition.identify(client, gallery, high).speaker is None
    with pytest.raises(SwarError, match="swar reenroll"):
        recognition.verify_speaker(client, gallery, high, "High")
    with pytest.raises(SwarError, match="swar reenroll"):
        recognition.enroll(client, gallery, "High", [high])
    recognition.enroll(client, gallery, "Middle", [_recording(folder, "m.wav", (MIDDLE, 6))])
    gallery.forget("High")
    recognition.enroll(client, gallery, "High", [high])
    found = recognition.identify(client, gallery, high)
    assert (found.speaker, found.not_compared) == ("High", ())
    assert recognition.identify(client, gallery, low).speaker == "Low"


def test_reenroll_goes_on_where_it_was_cut_off(
    client: Client, model: FakeModel, gallery: Gallery, folder: Path
) -> None:
    for number in range(10):
        recording = _recording(folder, f"{number}.wav", (LOW + 10 * number, 6))
        recognition.enroll(client, gallery, f"s{number}", [recording], keep_audio=True)
    model.digest = "model-2"
    done = len(model.calls)
    replace = gallery.replace

    def cut_off(*arguments: object) -> None:
        gallery.replace = replace  # type: ignore[method-assign]
        raise KeyboardInterrupt

    def once(embeddings: dict) -> None:
        replace(embeddings)
        gallery.replace = cut_off  # type: ignore[method-assign, assignment]

    gallery.replace = once  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        recognition.reenroll(client, gallery)
    assert recognition.reenroll(client, gallery) == 2
    assert sum(count for _, count in model.calls[done:]) == 1 + 10 + 1 + 2


def test_the_same_recording_is_no_more_speech(
    client: Client, gallery: Gallery, folder: Path
) -> None:
    short = _recording(folder, "a.wav", (LOW, 3))
    with pytest.raises(SwarError, match=r"3\.0 s of speech are too little"):
        recognition.enroll(client, gallery, "Low", [short, short])
    recognition.enroll(client, gallery, "Low", [short, _recording(folder, "bb.wav", (LOW, 3))])
    again = recognition.enroll(client, gallery, "Low", [short])
    assert (again.added, again.parts, again.warnings) == (0, (), ())
    again = recognition.enroll(client, gallery, "Low", [short], consent="form 12")
    assert again.added == 0
    assert "forget it and enrol it again" in again.warnings[0]
    assert again.speech_seconds == pytest.approx(6.0, abs=0.1)


def _overtake(monkeypatch: pytest.MonkeyPatch, enrol: Callable[[], Any]) -> None:
    """Lets another enrolment come between the look at the gallery and the next one's commit."""
    check = enrolment_gate.check

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(enrolment_gate, "check", check)
        enrol()
        return check(*given)

    monkeypatch.setattr(enrolment_gate, "check", overtaken)


def test_of_two_who_enrol_one_name_at_once_the_second_is_told(
    client: Client, gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone fits: nobody would be told that two people have the name."""
    low, high = (
        _recording(folder, name, (pitch, 6)) for name, pitch in (("a.wav", LOW), ("b.wav", HIGH))
    )
    _overtake(monkeypatch, partial(recognition.enroll, client, gallery, "Asha", [low]))
    with pytest.raises(SwarError, match="'Asha' was enrolled by somebody else meanwhile"):
        recognition.enroll(client, gallery, "Asha", [high])
    assert len(gallery.recordings("Asha")) == 1
    with pytest.raises(SwarError, match="hears another speaker"):
        recognition.enroll(client, gallery, "Asha", [high])


def test_one_recording_may_be_enrolled_twice_at_once(
    client: Client, gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a button that is pressed twice."""
    low = _recording(folder, "a.wav", (LOW, 6))
    _overtake(monkeypatch, partial(recognition.enroll, client, gallery, "Asha", [low]))
    assert recognition.enroll(client, gallery, "Asha", [low]).added == 0


@pytest.mark.parametrize("force", [False, True])
def test_of_two_names_that_look_alike_enrolled_at_once_the_second_is_told(
    client: Client,
    gallery: Gallery,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    force: bool,
) -> None:
    low, high = (
        _recording(folder, name, (pitch, 6)) for name, pitch in (("a.wav", LOW), ("b.wav", HIGH))
    )
    _overtake(monkeypatch, partial(recognition.enroll, client, gallery, "Asha", [low]))
    if force:
        recognition.enroll(client, gallery, "asha", [high], force=True)
        assert gallery.names() == ["Asha", "asha"]
        return
    with pytest.raises(SwarError, match="'asha' looks like 'Asha', whom somebody else enrolled"):
        recognition.enroll(client, gallery, "asha", [high])
    assert gallery.names() == ["Asha"]
    with pytest.raises(SwarError, match="the name looks like 'Asha', who is enrolled"):
        recognition.enroll(client, gallery, "asha", [high])
