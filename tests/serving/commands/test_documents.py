"""The pages' commands of users of a model run as they stand, against a small endpoint."""

import glob
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.serving.commands.support_commands import HIGH, LOW, Swar
from tests.serving.support_endpoint import RATE, voice
from tests.support_documents import CLIENT, PAGES, ROOT, swar_commands

SAME, DIFFERENT, INCONCLUSIVE = 0, 1, 4
COMMANDS = {page: swar_commands(page, CLIENT) for page in PAGES}
SPEAKER = ("a.mp3", "b.m4a", "b.mp3", "a.wav", "b.wav", "first.wav", "second.ogg", "call.wav")
FOLDERS = ("DATA/low/a.wav", "calls/a.wav", "speech/asmita_pariyar/interview_04.flac")
# Of a model that tests/e2e/test_documents.py makes, of servers with certificates.
OTHERS = {"MINE", "grpcs://swar.corp:443", "https://swar.corp"}


def _write(name: str, samples: np.ndarray) -> None:
    """A recording in the current folder; m4a, which libsndfile does not write, as MP3."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, samples, RATE, format="MP3" if name.endswith(".m4a") else None)


@pytest.fixture
def recordings(swar: Swar) -> None:
    """What the pages name, of one speaker, who is enrolled; the call is in stereo."""
    for name in (*SPEAKER, *FOLDERS, "speech/asmita_pariyar/voice_note_01.ogg"):
        samples = voice(LOW, 8.0, seed=len(name))
        _write(name, np.stack([samples, samples], 1) if name == "call.wav" else samples)
    _write("meeting.wav", np.concatenate([voice(LOW, 6.0), voice(HIGH, 6.0)]))
    Path("pairs.tsv").write_text("calls/a.wav\ta.wav\n")
    assert swar("enroll", "Bikram Rai", "first.wav", "second.ogg")[0] == SAME


@pytest.mark.usefixtures("recordings")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if COMMANDS[page]], ids=lambda page: page.stem
)
def test_the_commands_of_a_page_run(page: Path, swar: Swar) -> None:
    for words in COMMANDS[page]:
        if OTHERS & set(words):
            continue
        arguments: list[Any] = []
        for word in words:
            word = word.removeprefix("/secure/")
            arguments += sorted(glob.glob(word)) or [word]
        if "--url" in arguments:  # that of the endpoint comes in its place
            at = arguments.index("--url")
            del arguments[at : at + 2]
        status, out, err = swar(*arguments)
        assert status in (SAME, DIFFERENT, INCONCLUSIVE), (words, out, err)
        assert "error" not in err, words


def test_they_are_many() -> None:
    assert len(COMMANDS[ROOT / "docs" / "enrol.md"]) >= 10
    assert sum(map(len, COMMANDS.values())) >= 25
