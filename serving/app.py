"""The web page: verify, enrol and identify with a microphone or with files."""

import html
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Final

import gradio

from components.compat.gradio_microphone import RAW_MICROPHONE
from components.errors import SwarError
from components.terminal import say
from serving import app_view as view
from serving.app_actions import Actions
from serving.app_style import CSS
from serving.client import Client
from serving.gallery import Gallery

_ENROLMENT_SLOTS: Final = 2
_ANSWERS_AT_ONCE: Final = 8
_MAX_FILE_SIZE: Final = "200mb"
_CLEAN_UP_SECONDS: Final = (600, 3600)  # how often, and how old a recording may become

_ABOUT: Final = (
    "Voices are biometric data: enrol people only with their consent, and forget them when they "
    "ask. Voices can be imitated and synthesised: an answer here is a probability, not a proof "
    "of who spoke. Recordings given to this page are deleted within two hours and when it stops, "
    "unless you keep one for an enrolled speaker."
)

# Installed fonts only: a page that asks the network for one does not work without it.
_THEME: Final = gradio.themes.Default(
    font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
)


def launch(client: Client, gallery: Gallery, *, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serves the page until Ctrl-C or SIGTERM.

    Args:
        client: speaks to the model's endpoint.
        gallery: the enrolled speakers.
        host: where to listen; anyone who can reach it can enrol, identify and forget.
        port: where to listen.

    Raises:
        SwarError: it cannot listen there.
    """
    page = start(build(client, gallery), host=host, port=port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say(f"The page is at {page.local_url} (Ctrl-C ends it)")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        page.close(verbose=False)  # deletes the recordings


def start(page: gradio.Blocks, *, host: str, port: int) -> gradio.Blocks:
    """Serves a page in the background; its `local_url` is the address. Raises as `launch` does."""
    try:
        page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            theme=_THEME,
            css=CSS,
            head=RAW_MICROPHONE,
            footer_links=[],
            max_file_size=_MAX_FILE_SIZE,
            # Otherwise gradio asks itself for the page and gives up after three seconds, which a
            # busy machine needs; it has asked whether the server answers already, without a limit.
            _frontend=False,
        )
    except OSError as error:
        raise SwarError(f"cannot listen on {host}:{port}: choose another with --port") from error
    return page


def build(client: Client, gallery: Gallery) -> gradio.Blocks:
    """The page, not yet served."""
    actions = Actions(client, gallery)
    page = gradio.Blocks(title="Swar", analytics_enabled=False, delete_cache=_CLEAN_UP_SECONDS)
    with page:
        gradio.HTML("<h1>Swar</h1><p>Who is speaking?</p>", elem_classes="swar-header")
        with gradio.Tabs():
            _verify_tab(actions)
            _enrol_tab(actions)
            _identify_tab(actions)
            _speakers_tab(actions)
        gradio.HTML(f'<footer class="swar-footer">{html.escape(_ABOUT)}</footer>')
    page.queue(default_concurrency_limit=_ANSWERS_AT_ONCE)
    return page


def _recording(label: str) -> gradio.Audio:
    """A recording that can be made or uploaded, heard, and seen."""
    with gradio.Column(min_width=280):
        recording = gradio.Audio(
            sources=["upload", "microphone"],
            type="filepath",
            label=label,
            editable=False,
            buttons=[],
            # The spectrogram shows more than the waveform, which makes a phone's page too wide.
            waveform_options=gradio.WaveformOptions(show_recording_waveform=False),
            elem_classes="swar-recording",
        )
        picture = gradio.HTML()
    recording.change(
        view.spectrogram, recording, picture, show_progress="hidden", api_visibility="private"
    )
    return recording


def _asked(
    button: gradio.Button,
    action: Callable[..., str],
    recordings: list[gradio.Audio],
    others: Sequence[gradio.Component] = (),
) -> None:
    """A button's answer, which goes away with the recordings that it is about."""
    answer = gradio.HTML()
    button.click(action, [*others, *recordings], answer, api_name=action.__name__)
    for recording in recordings:
        recording.change(None, None, answer, js="() => ''", api_visibility="private")


def _verify_tab(actions: Actions) -> None:
    with gradio.Tab("Verify"):
        gradio.Markdown("Does the same person speak in both recordings?")
        with gradio.Row():
            recordings = [_recording("Recording A"), _recording("Recording B")]
        _asked(gradio.Button("Compare the voices", variant="primary"), actions.verify, recordings)


def _enrol_tab(actions: Actions) -> None:
    with gradio.Tab("Enrol"):
        gradio.Markdown(
            "Give a name and 5 to 30 seconds of speech. To add recordings, of another day or "
            "another room, enrol them under the same name."
        )
        name = gradio.Textbox(label="Name", max_lines=1)
        with gradio.Row():
            recordings = [_recording(f"Recording {n + 1}") for n in range(_ENROLMENT_SLOTS)]
        keep = gradio.Checkbox(
            label="Keep the recordings, to enrol again by itself when the model is replaced"
        )
        button = gradio.Button("Enrol", variant="primary")
        _asked(button, actions.enrol, recordings, [name, keep])


def _identify_tab(actions: Actions) -> None:
    with gradio.Tab("Identify"):
        gradio.Markdown("Which of the enrolled speakers is it, if any?")
        recording = _recording("Recording")
        _asked(gradio.Button("Identify", variant="primary"), actions.identify, [recording])


def _speakers_tab(actions: Actions) -> None:
    with gradio.Tab("Speakers") as tab:
        listed = gradio.HTML()
        gradio.Markdown(
            "### Forget a speaker\nRemoves the speaker's recordings and voice for good."
        )
        name = gradio.Textbox(label="Name of the speaker to forget", max_lines=1)
        button = gradio.Button("Forget", variant="stop")
        answer = gradio.HTML()
    tab.select(actions.speakers, None, listed, api_name="speakers")
    button.click(actions.forget, name, [answer, listed], api_name="forget")
