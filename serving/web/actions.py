"""What the page's buttons do: each answers with HTML, also if the user has to correct something."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from components.errors import SwarError
from serving import recognition
from serving.client import Client
from serving.gallery import Gallery
from serving.recordings import display_name
from serving.web import view

Upload = str | None
"""The path of a file; None if none was given."""

RISKS: Final = {
    "The model's own threshold": None,
    "At most 5 % false accepts": 0.05,
    "At most 1 %": 0.01,
    "At most 0.1 %": 0.001,
}
"""The risks that a user may choose, as shares of false accepts."""
_TOP: Final = 5
_LISTED_NAMES: Final = 1_000


class Actions:
    """The page's buttons."""

    def __init__(self, client: Client, gallery: Gallery) -> None:
        self._client = client
        self._gallery = gallery

    def verify(
        self, risk: str, speaker: str | None, recording_a: Upload, recording_b: Upload
    ) -> str:
        """Whether one person speaks in A and in B, or in A and as an enrolled speaker.

        Args:
            risk: one of RISKS.
            speaker: the name of an enrolled speaker, instead of recording B.
            recording_a: the recording in question.
            recording_b: what it is compared with.
        """
        if recording_a is None or not (recording_b or speaker):
            return view.error("two recordings are needed: record or upload both")
        if recording_b and speaker:
            return view.error("recording B and an enrolled speaker are given: clear one of them")
        both = {recording_a: "recording A", recording_b: "recording B"}
        labels = {path: label for path, label in both.items() if path is not None}
        return _told(lambda: self._verdict(risk, recording_a, recording_b, speaker), labels)

    def picture(self, recording: Upload) -> str:
        """What a recording looks like."""
        return view.spectrogram(recording)

    def quality(self, recording: Upload) -> str:
        """How much of a recording the model can use, and how good it is."""
        if recording is None:
            return ""
        labels = {recording: "the recording"}
        # Not watched: the watchers get its row when a button asks about it.
        ask = partial(self._client.embed, [recording], is_watched=False)
        return _told(lambda: view.quality(ask()[0]), labels)

    def names(self) -> dict[str, Any]:
        """The enrolled speakers to choose from, as the update that gradio expects."""
        try:
            names = self._gallery.names() if self._gallery.exists() else []
        except SwarError:  # every other button shows why
            names = []
        choices = [(name, name) for name in names[:_LISTED_NAMES]]
        return {"__type__": "update", "choices": choices}

    def enrol(
        self,
        name: str,
        consent: str,
        keep_audio: bool,
        recording_1: Upload,
        recording_2: Upload,
        actor: str = "",
    ) -> str:
        """Adds recordings to a speaker, new or known."""
        recordings = (recording_1, recording_2)
        given = {path: f"recording {n}" for n, path in enumerate(recordings, 1) if path is not None}
        if not name.strip():
            return view.error("a name is needed: who is speaking?")
        if not given:
            return view.error("a recording is needed: record or upload one")
        return _told(
            lambda: view.enrolled(
                recognition.enroll(
                    self._client,
                    self._gallery,
                    name,
                    list(given),
                    keep_audio=keep_audio,
                    consent=consent.strip(),
                    actor=actor,
                )
            ),
            given,
        )

    def identify(self, risk: str, recording: Upload) -> str:
        """Who of the enrolled speakers is heard, if any; a risk is one of RISKS."""
        if recording is None:
            return view.error("a recording is needed: record or upload one")
        return _told(lambda: self._identified(risk, recording), {recording: "the recording"})

    def speakers(self) -> str:
        """Who is enrolled."""
        return _told(self._listed, {})

    def forget(self, name: str, actor: str = "") -> tuple[str, str]:
        """Removes a speaker; returns what happened, and who is still enrolled."""
        if not name.strip():
            return view.error("the name of an enrolled speaker is needed"), self.speakers()
        done = _told(lambda: view.forgotten(name, self._gallery.forget(name, actor=actor)), {})
        return done, self.speakers()

    def _verdict(self, risk: str, recording: str, other: str | None, speaker: str | None) -> str:
        rule = self._client.rule(RISKS[risk])
        if other is not None:
            decision = self._client.verify(recording, other, rule)
        else:
            decision = recognition.verify_speaker(
                self._client, self._gallery, recording, speaker or "", rule
            )
        return view.verdict(decision, rule)

    def _identified(self, risk: str, recording: str) -> str:
        if not self._gallery.exists():
            return view.nobody_enrolled()
        rule = recognition.identification_rule(self._client, self._gallery, RISKS[risk])
        found = recognition.identify(self._client, self._gallery, recording, top=_TOP, rule=rule)
        return view.identified(found, rule)

    def _listed(self) -> str:
        return view.speakers(self._gallery.speakers() if self._gallery.exists() else [])


def _told(answer: Callable[[], str], labels: dict[str, str]) -> str:
    """The answer, or what the user has to correct, with labels in place of paths."""
    try:
        return answer()
    except SwarError as error:
        message = error.fault
        for path, label in labels.items():
            message = message.replace(display_name(path), label)
        return view.error(message)
