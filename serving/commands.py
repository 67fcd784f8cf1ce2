"""The commands around a served model: serve, enrol, verify, identify, embed.

They import what they need when they run: `swar --help` must not load audio libraries.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from components.errors import SwarError
from serving import defaults

if TYPE_CHECKING:
    from serving.client import Client
    from serving.gallery import Gallery
    from serving.web.login import Login

# Exit statuses; 0 is yes, or that all of many were answered, 2 an error.
DIFFERENT, UNKNOWN, UNUSABLE = 1, 1, 1

app = typer.Typer()

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="base, or a published model such as OUTPUT/published; it runs in this process. [base]",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="A server instead: grpc://HOST:PORT or http://HOST:PORT."),
]
ModelNameOption = Annotated[
    str | None, typer.Option("--model-name", help=f"What it calls it. [{defaults.MODEL_NAME}]")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        help=f"Seconds for a request to it, with retries. [{defaults.DEADLINE_SECONDS:g}]",
        min=0.001,
    ),
]
GalleryOption = Annotated[
    str, typer.Option("--gallery", help="Folder or object storage URI of the enrolled speakers.")
]
GalleryKeyOption = Annotated[
    str | None,
    typer.Option(
        "--gallery-key",
        metavar="FILE|env:NAME",
        help="The key of a sealed gallery, in a file or an environment variable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The speaker.")]


def _client(
    model: str | None,
    url: str | None,
    model_name: str | None,
    deadline: float | None,
) -> contextlib.AbstractContextManager["Client"]:
    """The client that the options name; they are checked before anything is imported or opened.

    Raises:
        SwarError: the options exclude one another.
    """
    of_server = {
        "--model-name": model_name,
        "--deadline": deadline,
    }
    if url is not None and model is not None:
        raise SwarError("--model runs in this process and --url asks a server: give one of them")
    if url is None and (given := [name for name, value in of_server.items() if value is not None]):
        raise SwarError(f"{given[0]} is about a server: name it with --url")
    if url is None:
        return _in_process(defaults.MODEL if model is None else model)
    return _of_server(
        url,
        defaults.MODEL_NAME if model_name is None else model_name,
        defaults.DEADLINE_SECONDS if deadline is None else deadline,
    )


def _gallery(uri: str, key: str | None) -> "Gallery":
    """Raises SwarError where the key cannot be read."""
    # Only here: the gallery's libraries take half a second to import.
    from serving.gallery import Gallery
    from serving.gallery_keys import read_keys

    return Gallery(uri, None if key is None else read_keys(key))


def _check_present(*files: Path) -> None:
    """Before a model is loaded, which takes seconds.

    Raises:
        SwarError: one of the files does not exist.
    """
    for file in files:
        if not file.exists():
            raise SwarError(f"{str(file)!r} does not exist: name another recording")


@contextlib.contextmanager
def _in_process(model: str) -> Iterator["Client"]:
    from serving.client import Client

    with _progress_shown(), Client.in_process(model) as client:
        yield client


@contextlib.contextmanager
def _of_server(url: str, model_name: str, deadline: float) -> Iterator["Client"]:
    from serving.client import Client

    with Client(url, model=model_name, deadline_seconds=deadline) as client:
        yield client


@contextlib.contextmanager
def _progress_shown() -> Iterator[None]:
    """On stderr: the first call of the base model takes longer, and says why."""
    progress = logging.getLogger("swar.progress")
    with _stderr() as stderr:
        handler = logging.StreamHandler(stderr)
        progress.addHandler(handler)
        progress.setLevel(logging.INFO)
        try:
            yield
        finally:
            progress.removeHandler(handler)


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    """On a terminal; yields what is called with how many recordings are done, and of how many."""
    from rich.console import Console
    from rich.progress import Progress

    with _stderr() as stderr:
        console = Console(file=stderr)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("recordings")
            yield lambda done, of: progress.update(task, completed=done, total=of)


def _stderr() -> TextIO:
    """A descriptor of its own: TensorFlow's messages are kept off the other one."""
    return os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")


@app.command("serve")
def serve_command(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="base, or a folder of versions: OUTPUT/published."),
    ],
    model_name: Annotated[
        str, typer.Option(help="What requests call the model.")
    ] = defaults.MODEL_NAME,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(help="For REST.", min=0, max=65535)] = 8501,
    grpc_port: Annotated[int, typer.Option(help="For gRPC.", min=0, max=65535)] = 8500,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A label for a version, kept loaded.", metavar="LABEL=VERSION"),
    ] = None,
    max_batch_size: Annotated[
        int, typer.Option(help="Recordings that run together at most.", min=1)
    ] = defaults.MAX_BATCH_SIZE,
    batch_timeout_micros: Annotated[
        int, typer.Option(help="How long a request waits for others.", min=0)
    ] = defaults.BATCH_TIMEOUT_MICROS,
) -> None:
    """Serve a model locally: a stand-in that speaks TF Serving's REST and gRPC."""
    from serving.server import ServerSettings, serve
    from serving.standin.batcher import Batching

    serve(
        ServerSettings(
            _versions_of(model),
            model_name,
            host,
            rest_port,
            grpc_port,
            labels=dict(map(_label, label or ())),
            batching=Batching(max_batch_size, batch_timeout_micros),
        )
    )


def _versions_of(model: str) -> Path:
    if model != defaults.MODEL:
        return Path(model)
    from components.base_model import base_model_folder
    from serving.in_process import without_native_messages

    with _progress_shown(), without_native_messages():
        return base_model_folder().parent


def _label(told: str) -> tuple[str, int]:
    name, _, version = told.partition("=")
    if not name or not version.isdecimal():
        raise SwarError(f"--label {told!r} is not LABEL=VERSION, for example stable=1700000000")
    return name, int(version)


@app.command("app")
def app_command(
    model: ModelOption = None,
    url: UrlOption = None,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where the page is.", min=0, max=65535)] = 7860,
    public_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What browsers call the page, if not localhost."),
    ] = None,
    auth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may use it, as `swar app-password` writes it."),
    ] = None,
    auth_header: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Or the header in which a proxy says who it is."),
    ] = None,
    auth_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="The proxy's address or network."),
    ] = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
) -> None:
    """Open the web page: record or upload, enrol, verify, identify."""
    connection = _client(model, url, model_name, deadline)
    from serving.web.guard import PageSettings
    from serving.web.page import launch

    enrolled = _gallery(gallery, gallery_key)
    login = _login(auth, auth_header, auth_proxy or [])
    settings = PageSettings(host, port, tuple(public_host or ()), login)
    settings.check()
    with connection as client:
        launch(client, enrolled, settings)


def _login(file: Path | None, header: str | None, proxies: Sequence[str]) -> "Login | None":
    """Raises SwarError where the options exclude one another."""
    from serving.web.login import PasswordLogin, ProxyLogin

    if (header is None) != (not proxies):
        raise SwarError("--auth-header and --auth-proxy go together: a proxy says who it is in it")
    if file is not None and header is not None:
        raise SwarError("--auth asks for passwords and --auth-header asks nothing: give one")
    if file is not None:
        return PasswordLogin(file)
    return ProxyLogin(header, proxies) if header is not None else None


@app.command("app-password")
def app_password_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="For `swar app --auth`.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user.")],
) -> None:
    """Give a user of the web page a password, which is asked for; FILE has only its hash."""
    from serving.web.login import write_password

    write_password(file, name, typer.prompt("Password", hide_input=True, confirmation_prompt=True))


@app.command("enroll")
def enroll_command(
    name: NameArgument,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="5 to 30 s of speech in all.")
    ],
    keep_audio: Annotated[
        bool, typer.Option("--keep-audio", help="Keep the recordings too, for `swar reenroll`.")
    ] = False,
    consent: Annotated[
        str, typer.Option(help="How the speaker gave it, for example: form 12 of 2026-11-03.")
    ] = "",
    expires: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day (UTC) from which it is used no more."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also what does not sound like the rest, or a name that looks like another.",
        ),
    ] = False,
    model: ModelOption = None,
    url: UrlOption = None,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a speaker, or add recordings to one."""
    _check_present(*files)
    connection = _client(model, url, model_name, deadline)
    from serving import display, recognition

    enrolled = _gallery(gallery, gallery_key)
    expires_at = None if expires is None else expires.replace(tzinfo=UTC)
    with connection as client:
        report = recognition.enroll(
            client,
            enrolled,
            name,
            files,
            keep_audio=keep_audio,
            consent=consent,
            expires_at=expires_at,
            force=force,
        )
    display.enrolment(report, as_json=as_json)


@app.command("verify")
def verify_command(
    file_a: Annotated[
        Path | None, typer.Argument(metavar="[A]", help="A recording, unless --pairs.")
    ] = None,
    file_b: Annotated[
        Path | None, typer.Argument(metavar="[B]", help="Another one, unless --speaker.")
    ] = None,
    speaker: Annotated[
        str | None, typer.Option("--speaker", help="An enrolled speaker instead of B.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="LIST.tsv",
            help="Many pairs instead: two paths a line, relative to the list, a tab between them.",
        ),
    ] = None,
    model: ModelOption = None,
    url: UrlOption = None,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether one person speaks in both. Exit status: 0 same, 1 different, 2 error.

    Of many pairs: 0 all compared, 1 some recordings are not usable, 2 error.
    """
    if pairs is not None:
        if any(each is not None for each in (file_a, file_b, speaker)):
            raise typer.BadParameter("give two recordings, one and --speaker NAME, or --pairs LIST")
        _verify_pairs(pairs, _client(model, url, model_name, deadline), as_json=as_json)
        return
    if file_a is None or (file_b is None) == (speaker is None):
        raise typer.BadParameter("give a second recording or --speaker NAME, one of them")
    _check_present(file_a, *([file_b] if file_b else []))
    connection = _client(model, url, model_name, deadline)
    from serving import display

    with connection as client:
        if file_b is not None:
            decision = client.verify(file_a, file_b)
        else:
            from serving import recognition

            assert speaker is not None  # checked above
            enrolled = _gallery(gallery, gallery_key)
            decision = recognition.verify_speaker(client, enrolled, file_a, speaker)
    display.decision(decision, as_json=as_json)
    if not decision.same_speaker:
        raise typer.Exit(DIFFERENT)


def _verify_pairs(
    pairs: Path, connection: contextlib.AbstractContextManager["Client"], *, as_json: bool
) -> None:
    from serving import bulk, display

    parsed = bulk.read_pair_list(pairs)
    all_usable = True
    with connection as client:
        for compared in bulk.verify_pairs(client, parsed):
            display.comparison(compared, as_json=as_json)
            all_usable = all_usable and compared.decision is not None
    if not all_usable:
        raise typer.Exit(UNUSABLE)


@app.command("identify")
def identify_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings.")],
    top: Annotated[int, typer.Option(help="How many of the nearest to show.", min=1)] = 5,
    model: ModelOption = None,
    url: UrlOption = None,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who speaks, or "unknown". Exit status: 0 known, 1 unknown, 2 error.

    Of several recordings: 0 all answered, 1 some are not usable, 2 error.
    """
    connection = _client(model, url, model_name, deadline)
    from serving import display, recognition

    enrolled = _gallery(gallery, gallery_key)
    if len(files) > 1:
        _identify_each(files, enrolled, top, connection, as_json=as_json)
        return
    _check_present(*files)
    with connection as client:
        identification = recognition.identify(client, enrolled, files[0], top=top)
    display.identification(identification, as_json=as_json)
    if identification.speaker is None:
        raise typer.Exit(UNKNOWN)


def _identify_each(
    files: Sequence[Path],
    gallery: "Gallery",
    top: int,
    connection: contextlib.AbstractContextManager["Client"],
    *,
    as_json: bool,
) -> None:
    from serving import bulk, display

    all_usable = True
    with connection as client:
        for answered in bulk.identify_each(client, gallery, files, top=top):
            display.answer(answered, as_json=as_json)
            all_usable = all_usable and answered.identification is not None
    if not all_usable:
        raise typer.Exit(UNUSABLE)


@app.command("embed")
def embed_command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Folder of speakers' folders or of recordings, or a manifest."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE.parquet", help="Gets a row a recording.")
    ],
    model: ModelOption = None,
    url: UrlOption = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the embeddings of many recordings. Broken off, it goes on where it was."""
    connection = _client(model, url, model_name, deadline)
    from serving import display
    from serving.embedding_file import embed_data

    with connection as client, _progress_bar() as on_progress:
        embedded = embed_data(client, data, output, on_progress)
    display.embedded(embedded, as_json=as_json)


@app.command("speakers")
def speakers_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A speaker, whose recordings to list.")
    ] = None,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the enrolled speakers, or the recordings of one."""
    from serving import display

    enrolled = _gallery(gallery, gallery_key)
    if name is None:
        display.speakers(enrolled.speakers(), as_json=as_json)
    else:
        display.recordings(enrolled.recordings(name), as_json=as_json)


@app.command("forget")
def forget_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The speaker, unless --expired.")
    ] = None,
    recording: Annotated[
        str | None,
        typer.Option("--recording", metavar="ID", help="Only this one, see `swar speakers NAME`."),
    ] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="All recordings that have expired.")
    ] = False,
    gallery: GalleryOption = defaults.GALLERY,
    as_json: JsonOption = False,
) -> None:
    """Remove a speaker or one recording, and every byte of it from the disk."""
    from serving import display

    if (name is None) != expired or (expired and recording is not None):
        raise typer.BadParameter("give the NAME of a speaker or --expired")
    enrolled = _gallery(gallery, None)
    if name is None:
        display.expired(enrolled.forget_expired(), as_json=as_json)
    else:
        display.forgotten(name, enrolled.forget(name, recording=recording), as_json=as_json)


@app.command("opt-out")
def opt_out_command(
    name: NameArgument,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the speaker be enrolled again.")
    ] = False,
    gallery: GalleryOption = defaults.GALLERY,
    as_json: JsonOption = False,
) -> None:
    """Forget a speaker, and refuse to enrol anyone under that name or one that looks like it."""
    from serving import display

    enrolled = _gallery(gallery, None)
    if undo:
        enrolled.ledger.opt_in(name)
    else:
        enrolled.opt_out(name)
    display.opted_out(name, undone=undo, as_json=as_json)


@app.command("ledger")
def ledger_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only what was about this speaker.")
    ] = None,
    gallery: GalleryOption = defaults.GALLERY,
    as_json: JsonOption = False,
) -> None:
    """List what was done to a gallery, by whom and when; without names and voices."""
    from serving import display

    display.events(_gallery(gallery, None).ledger.events(name), as_json=as_json)


@app.command("gallery-key")
def gallery_key_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="For --gallery-key.")],
) -> None:
    """Make a key that seals a gallery's voices, or put a new one before those of a file."""
    from serving import display
    from serving.gallery_keys import write_new_key

    display.new_key(file, write_new_key(file))


@app.command("seal")
def seal_command(
    gallery_key: Annotated[
        str,
        typer.Option(
            metavar="FILE|env:NAME", help="The keys: the first seals, all open what is sealed."
        ),
    ],
    gallery: GalleryOption = defaults.GALLERY,
    as_json: JsonOption = False,
) -> None:
    """Seal the voices of a gallery with a key, or with a new one."""
    from serving import display

    display.sealed(_gallery(gallery, gallery_key).seal(), as_json=as_json)


@app.command("reenroll")
def reenroll_command(
    model: ModelOption = None,
    url: UrlOption = None,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the gallery to a new model, from the recordings that were kept."""
    connection = _client(model, url, model_name, deadline)
    from serving import display, recognition

    enrolled = _gallery(gallery, gallery_key)
    with connection as client:
        done = recognition.reenroll(client, enrolled)
    display.reenrolled(done, as_json=as_json)
