"""The commands around a served model: serve, enrol, verify, identify, embed.

They import what they need when they run: `swar --help` must not load audio libraries.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import SwarError
from components.local_files import check_present
from components.quiet import real_stderr, tensorflow_quiet
from serving import defaults
from serving.ports import check_free

if TYPE_CHECKING:
    from serving.client import Client
    from serving.gallery import Gallery

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
    with real_stderr() as stderr:
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

    with real_stderr() as stderr:
        console = Console(file=stderr)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("recordings")
            yield lambda done, of: progress.update(task, completed=done, total=of)


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
    labels = dict(map(_label, label or ()))
    check_free(host, rest_port, grpc_port)
    versions = _versions_of(model)
    from serving.server import ServerSettings, serve
    from serving.standin.batcher import Batching

    serve(
        ServerSettings(
            versions,
            model_name,
            host,
            rest_port,
            grpc_port,
            labels=labels,
            batching=Batching(max_batch_size, batch_timeout_micros),
        )
    )


def _versions_of(model: str) -> Path:
    if model != defaults.MODEL:
        if not any(Path(model).glob("[0-9]*/saved_model.pb")):
            raise SwarError(
                f"{model} holds no <version>/saved_model.pb; give the folder `published` of a run "
                "that published a model"
            )
        return Path(model)
    from components.base_model import base_model_folder

    with _progress_shown(), tensorflow_quiet():
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
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where the page is.", min=0, max=65535)] = 7860,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
) -> None:
    """Open the web page: record or upload, enrol, verify, identify."""
    connection = _client(model, url, model_name, deadline)
    check_free(host, port)
    from serving.app import launch
    from serving.gallery import Gallery

    with connection as client:
        launch(client, Gallery(gallery), host=host, port=port)


@app.command("enroll")
def enroll_command(
    name: NameArgument,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="5 to 30 s of speech in all.")
    ],
    keep_audio: Annotated[
        bool, typer.Option("--keep-audio", help="Keep the recordings too, for `swar reenroll`.")
    ] = False,
    model: ModelOption = None,
    url: UrlOption = None,
    gallery: GalleryOption = defaults.GALLERY,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a speaker, or add recordings to one."""
    _check_present(*files)
    connection = _client(model, url, model_name, deadline)
    from serving import display, recognition
    from serving.gallery import Gallery

    with connection as client:
        report = recognition.enroll(client, Gallery(gallery), name, files, keep_audio=keep_audio)
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
            # Only here: the gallery's libraries take half a second to import.
            from serving import recognition
            from serving.gallery import Gallery

            assert speaker is not None  # checked above
            decision = recognition.verify_speaker(client, Gallery(gallery), file_a, speaker)
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
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who speaks, or "unknown". Exit status: 0 known, 1 unknown, 2 error.

    Of several recordings: 0 all answered, 1 some are not usable, 2 error.
    """
    connection = _client(model, url, model_name, deadline)
    if len(files) == 1:
        _check_present(*files)
    from serving import display, recognition
    from serving.gallery import Gallery

    enrolled = Gallery(gallery)
    if len(files) > 1:
        _identify_each(files, enrolled, top, connection, as_json=as_json)
        return
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
    check_present(data)
    from serving import display
    from serving.embedding_file import embed_data

    with connection as client, _progress_bar() as on_progress:
        embedded = embed_data(client, data, output, on_progress)
    display.embedded(embedded, as_json=as_json)


@app.command("speakers")
def speakers_command(
    gallery: GalleryOption = defaults.GALLERY, as_json: JsonOption = False
) -> None:
    """List the enrolled speakers."""
    from serving import display
    from serving.gallery import Gallery

    display.speakers(Gallery(gallery).speakers(), as_json=as_json)


@app.command("forget")
def forget_command(
    name: NameArgument, gallery: GalleryOption = defaults.GALLERY, as_json: JsonOption = False
) -> None:
    """Remove a speaker, and every byte of the speaker from the disk."""
    from serving import display
    from serving.gallery import Gallery

    display.forgotten(name, Gallery(gallery).forget(name), as_json=as_json)


@app.command("reenroll")
def reenroll_command(
    model: ModelOption = None,
    url: UrlOption = None,
    gallery: GalleryOption = defaults.GALLERY,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the gallery to a new model, from the recordings that were kept."""
    connection = _client(model, url, model_name, deadline)
    from serving import display, recognition
    from serving.gallery import Gallery

    with connection as client:
        done = recognition.reenroll(client, Gallery(gallery))
    display.reenrolled(done, as_json=as_json)
