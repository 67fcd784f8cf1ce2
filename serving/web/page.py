"""The web page: verify, enrol and identify with a microphone or with files."""

import asyncio
import contextlib
import html
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import fastapi
import gradio
import uvicorn

from components.compat.gradio_microphone import RAW_MICROPHONE
from components.errors import SwarError
from components.terminal import say
from serving.client import Client
from serving.gallery import Gallery
from serving.open_files import affordable_connections, quiet_where_files_run_out
from serving.web import connections
from serving.web.actions import RISKS, Actions
from serving.web.calls import ASK, USER, Calls
from serving.web.connections import BoundedConnection
from serving.web.guard import Guard, PageSettings
from serving.web.level_meter import LEVEL_METER, NO_MICROPHONE
from serving.web.style import CSS
from serving.web.uploads import KEPT_SECONDS, UPLOAD, Uploads, opened_uploads, progress

_ENROLMENT_SLOTS: Final = 2
_BACKLOG: Final = 128
_STOP_SECONDS: Final = 5

_ABOUT: Final = (
    "Voices are biometric data: enrol people only with their consent, and forget them when they "
    "ask. Nothing here tells a living voice from a recording of it, an imitation or a synthetic "
    "one: an answer is a probability, not a proof of who spoke. Recordings given to this page "
    f"are deleted after {KEPT_SECONDS / 3600:g} hour and when it stops, unless you keep one for an "
    "enrolled speaker."
)

# Gradio removes only the runs of the current start, as each start is another page to it.
_NO_RUNS: Final = """
for (const key of Object.keys(localStorage))
  if (key.startsWith("gradio:run-history")) localStorage.removeItem(key);
"""

# What a screen reader says of a button has to contain its visible text.
_UPLOAD_NAMES: Final = """
new MutationObserver(() => {
  for (const button of document.querySelectorAll(".upload-container[aria-label]"))
    button.removeAttribute("aria-label");
}).observe(document, {childList: true, subtree: true});
"""

_SIGN_OUT: Final = (
    '<form class="swar-sign-out" method="post" action="/logout"><button>Sign out</button></form>'
)

_SCRIPTS: Final = (RAW_MICROPHONE, LEVEL_METER, NO_MICROPHONE, _UPLOAD_NAMES, _NO_RUNS)
"""The scripts in the page's head."""

# Installed fonts only: a page that loads fonts from the network does not work without it.
# The theme's own orange is too light to read, and could be taken for a verdict's colour.
_THEME: Final = gradio.themes.Default(
    primary_hue="indigo",
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(
    color_accent="*primary_600",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_dark="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    button_cancel_text_color="white",
)


def launch(client: Client, gallery: Gallery, settings: PageSettings) -> None:
    """Serves the page until Ctrl-C or SIGTERM.

    Raises:
        SwarError: it cannot listen there, or other machines could reach it without a login.
    """
    with contextlib.suppress(KeyboardInterrupt), served(client, gallery, settings) as url:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        say(f"The page is at {url} (Ctrl-C ends it)")
        threading.Event().wait()


@contextlib.contextmanager
def served(client: Client, gallery: Gallery, settings: PageSettings) -> Iterator[str]:
    """Serves a page in the background; yields its address. Raises as `launch` does.

    Args:
        client: speaks to the model's endpoint.
        gallery: the enrolled speakers.
        settings: where the page is, and who may use it.
    """
    settings.check()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listening(settings.host, settings.port))
        uploads = stack.enter_context(opened_uploads())
        signs_out = settings.login is not None and settings.login.signs_out
        page = _build(client, gallery, signs_out=signs_out)
        server = uvicorn.Server(
            uvicorn.Config(
                Guard(_application(page, uploads), settings, uploads, list(_SCRIPTS)),
                http=BoundedConnection,
                ws="none",  # the page uses none, and they would be unbounded
                log_level="error",  # any client that speaks no HTTP can cause a warning
                access_log=False,
                server_header=False,
                proxy_headers=False,  # a login by a proxy's header needs the peer's own address
                backlog=_BACKLOG,  # asyncio accepts all of it before any connection counts
                limit_concurrency=affordable_connections(connections.MAX_CONNECTIONS) + 1,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        thread = threading.Thread(
            target=lambda: asyncio.run(_serve(server, listening)), name="page", daemon=True
        )
        thread.start()
        try:
            while not server.started:
                thread.join(0.01)
                if not thread.is_alive():
                    raise SwarError("the page does not start: see the messages above")
            yield _address(listening)
        finally:
            server.should_exit = True
            thread.join()


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(quiet_where_files_run_out)
    await server.serve([listening])


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        raise SwarError(f"cannot listen on {host}:{port}: choose another with --port") from error
    with listening:
        yield listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _application(page: gradio.Blocks, uploads: Uploads) -> fastapi.FastAPI:
    """Gradio's application, with this page's own calls and uploads instead of gradio's."""
    application = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    application.add_route(ASK, Calls(page, uploads).answer, ["POST"])
    application.add_route(UPLOAD, uploads.receive, ["POST"])
    application.add_route("/gradio_api/upload_progress", progress, ["GET"])
    gradio.mount_gradio_app(
        application,
        page,
        path="/",
        auth_dependency=lambda request: request.scope[USER],
        # It keeps names, verdicts and recordings' addresses in the browser; False removes them.
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        theme=_THEME,
        css=CSS,
        head="".join(f"<script>{script}</script>" for script in _SCRIPTS),
    )
    return application


def _build(client: Client, gallery: Gallery, *, signs_out: bool) -> gradio.Blocks:
    """The page; none of its events is queued, each is a request of its own.

    Gradio sends queued answers through one stream per browser, which it ends when none is due; an
    event that comes at that moment waits for ever.
    """
    actions = Actions(client, gallery)
    page = gradio.Blocks(title="Swar", analytics_enabled=False)
    with page:
        gradio.HTML("<h1>Swar</h1><p>Who is speaking?</p>", elem_classes="swar-header")
        with gradio.Tabs():
            _verify_tab(actions)
            _enrol_tab(actions)
            _identify_tab(actions)
            _speakers_tab(actions)
        gradio.HTML(f'<footer class="swar-footer">{html.escape(_ABOUT)}</footer>')
        if signs_out:
            gradio.HTML(_SIGN_OUT)
    return page


class _Recording(NamedTuple):
    """A recording's recorder and player, its picture, and its quality."""

    audio: gradio.Audio
    picture: gradio.HTML
    quality: gradio.HTML


def _recording(label: str) -> _Recording:
    with gradio.Column(min_width=280):
        audio = gradio.Audio(
            sources=["microphone", "upload"],
            type="filepath",
            label=label,
            editable=False,
            buttons=[],
            # The spectrogram shows more than the waveform, which makes a phone's page too wide.
            waveform_options=gradio.WaveformOptions(show_recording_waveform=False),
            elem_classes="swar-recording",
        )
        return _Recording(audio, gradio.HTML(), gradio.HTML(elem_classes="swar-look"))


def _line(label: str, *, max_length: int | None = None) -> gradio.Textbox:
    """A text field that the browser neither remembers nor sends to a spell check."""
    attributes = gradio.InputHTMLAttributes(autocomplete="off", spellcheck=False)
    return gradio.Textbox(
        label=label, max_lines=1, max_length=max_length, html_attributes=attributes
    )


def _risk() -> gradio.Radio:
    choices = list(RISKS)
    return gradio.Radio(choices, value=choices[0], label="Accept by")


def _asked(
    actions: Actions,
    button: gradio.Button,
    action: Callable[..., str],
    recordings: list[_Recording],
    others: Sequence[gradio.Component] = (),
) -> None:
    """Shows a button's answer, and removes it when one of its recordings changes."""
    answer = gradio.HTML()
    given = [recording.audio for recording in recordings]
    button.click(action, [*others, *given], answer, queue=False, api_name=action.__name__)
    for audio, picture, quality in recordings:
        # Gradio runs what follows a change one by one. Removing the old answer comes first, else
        # it would remove the answer to a user who asks before the quality is known.
        audio.change(None, None, answer, js="() => ''", queue=False, api_visibility="private")
        for look, shown in ((actions.picture, picture), (actions.quality, quality)):
            audio.change(
                look, audio, shown, show_progress="hidden", queue=False, api_visibility="private"
            )


def _verify_tab(actions: Actions) -> None:
    with gradio.Tab("Verify"):
        gradio.Markdown("Does the same person speak in both recordings?")
        with gradio.Row():
            recordings = [_recording(f"Recording {side}") for side in "AB"]
        enrolled = gradio.Dropdown(
            [],
            label="Or an enrolled speaker, in the place of recording B",
            allow_custom_value=True,  # the names come when the list is opened
        )
        risk = _risk()
        button = gradio.Button("Compare", variant="primary")
        _asked(actions, button, actions.verify, recordings, [risk, enrolled])
    enrolled.focus(
        actions.names, None, enrolled, show_progress="hidden", queue=False, api_name="names"
    )


def _enrol_tab(actions: Actions) -> None:
    with gradio.Tab("Enrol"):
        gradio.Markdown(
            "Give a name and 5 to 30 seconds of speech. To add recordings, of another day or "
            "another room, enrol them under the same name."
        )
        name = _line("Name")
        consent = _line("Consent: how and when the speaker gave it", max_length=200)
        with gradio.Row():
            recordings = [_recording(f"Recording {n + 1}") for n in range(_ENROLMENT_SLOTS)]
        keep = gradio.Checkbox(
            label="Keep the recordings, to enrol again by itself when the model is replaced"
        )
        button = gradio.Button("Enrol", variant="primary")
        _asked(actions, button, actions.enrol, recordings, [name, consent, keep])


def _identify_tab(actions: Actions) -> None:
    with gradio.Tab("Identify"):
        gradio.Markdown("Which of the enrolled speakers is it, if any?")
        recording = _recording("Recording")
        risk = _risk()
        button = gradio.Button("Identify", variant="primary")
        _asked(actions, button, actions.identify, [recording], [risk])


def _speakers_tab(actions: Actions) -> None:
    with gradio.Tab("Speakers") as tab:
        listed = gradio.HTML()
        gradio.Markdown("## Forget a speaker\nRemoves the speaker's recordings and voice for good.")
        name = _line("Name of the speaker to forget")
        button = gradio.Button("Forget", variant="stop")
        answer = gradio.HTML()
    tab.select(actions.speakers, None, listed, queue=False, api_name="speakers")
    button.click(actions.forget, name, [answer, listed], queue=False, api_name="forget")
