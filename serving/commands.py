"""The commands around a served model: serve, enrol, verify, identify, embed.

They import what they need when they run: `swar --help` must not load audio libraries.
"""

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from components.errors import SwarError
from components.paths import check_present
from components.quiet import real_stderr, tensorflow_quiet
from serving import defaults
from serving.credentials import Credentials
from serving.ports import check_free

if TYPE_CHECKING:
    from serving.client import Client
    from serving.decisions import DecisionRule
    from serving.gallery import Gallery
    from serving.web.login import Login

# Exit statuses; 0 is yes, or that all of many were answered, 2 an error.
UNUSABLE: Final = 1
_STATUS_OF_VERDICT: Final = {"same": 0, "different": 1, "inconclusive": 4}

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
    typer.Option(
        "--url", help="A server instead: grpc://HOST:PORT or http://HOST:PORT; grpcs, https: TLS."
    ),
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
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca", metavar="PEM", help="Who may sign its certificate, if not the system's authorities."
    ),
]
CertificateOption = Annotated[
    Path | None, typer.Option("--certificate", metavar="PEM", help="The certificate shown to it.")
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", metavar="PEM", help="Of that certificate.")
]
TokenFileOption = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="Holds a bearer token for it.")
]
MaxFalseAcceptOption = Annotated[
    float | None,
    typer.Option(
        "--max-false-accept",
        metavar="SHARE",
        help="Of comparisons, or queries, of other people that are accepted at most, such as 0.01; "
        "what a looser risk would accept is inconclusive. [the model's own threshold]",
    ),
]
PriorOption = Annotated[
    float,
    typer.Option(
        "--prior", metavar="P", help="Of the same speaker, which the probability takes for granted."
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


Connection = contextlib.AbstractContextManager["Client"]


def _client(
    model: ModelOption = None,
    url: UrlOption = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenFileOption = None,
) -> Connection:
    """The client that the options name; they are checked before anything is imported or opened.

    Raises:
        SwarError: the options exclude one another.
    """
    of_server = {
        "--model-name": model_name,
        "--deadline": deadline,
        "--ca": ca,
        "--certificate": certificate,
        "--key": key,
        "--token-file": token_file,
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
        Credentials(ca, certificate, key, token_file),
    )


def _with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `_client`, and what they name as its `connection`."""
    options = inspect.signature(_client, eval_str=True).parameters
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["connection"]

    @functools.wraps(command)
    def with_client(**given: Any) -> None:
        connection = _client(**{name: given.pop(name) for name in options})
        command(connection=connection, **given)

    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in (*own.values(), *options.values())
    ]
    with_client.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_client.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_client


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
def _of_server(
    url: str, model_name: str, deadline: float, credentials: Credentials
) -> Iterator["Client"]:
    from serving.client import Client

    with Client(
        url, model=model_name, deadline_seconds=deadline, credentials=credentials
    ) as client:
        yield client


@contextlib.contextmanager
def _progress_shown() -> Iterator[None]:
    """On stderr: the first call of the base model takes longer, and says why."""
    from components.terminal import PrintableFormatter

    progress = logging.getLogger("swar.progress")
    with real_stderr() as stderr:
        handler = logging.StreamHandler(stderr)
        handler.setFormatter(PrintableFormatter())
        progress.addHandler(handler)
        progress.setLevel(logging.INFO)
        try:
            yield
        finally:
            progress.removeHandler(handler)


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    """On a terminal; yields what is called with how many recordings are done, and of how many."""
    from rich.progress import Progress

    from components.terminal import Console

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
    open_to_network: Annotated[
        bool,
        typer.Option("--open-to-network", help="Let a --host be one that other machines reach."),
    ] = False,
    public_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What callers of REST call it, if not localhost."),
    ] = None,
    allow_reload: Annotated[
        bool, typer.Option("--allow-reload", help="Let callers of gRPC move the labels.")
    ] = False,
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
            open_to_network=open_to_network,
            public_hosts=tuple(public_host or ()),
            labels=labels,
            allow_reload=allow_reload,
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


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not name or not version.isdecimal():
        raise SwarError(f"--label {text!r} is not LABEL=VERSION, for example stable=1700000000")
    return name, int(version)


@app.command("app")
@_with_client
def app_command(
    connection: Connection,
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
) -> None:
    """Open the web page: record or upload, enrol, verify, identify."""
    check_free(host, port)
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
@_with_client
def enroll_command(
    connection: Connection,
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
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a speaker, or add recordings to one."""
    _check_present(*files)
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
@_with_client
def verify_command(
    connection: Connection,
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
    max_false_accept: MaxFalseAcceptOption = None,
    prior: PriorOption = defaults.PRIOR,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether one person speaks in both.

    Exit status: 0 same, 1 different, 4 inconclusive, 2 error.

    Of many pairs: 0 all compared, 1 some recordings are not usable, 2 error.
    """
    if pairs is not None:
        if any(each is not None for each in (file_a, file_b, speaker)):
            raise typer.BadParameter("give two recordings, one and --speaker NAME, or --pairs LIST")
        _verify_pairs(pairs, connection, max_false_accept, prior, as_json=as_json)
        return
    if file_a is None or (file_b is None) == (speaker is None):
        raise typer.BadParameter("give a second recording or --speaker NAME, one of them")
    _check_present(file_a, *([file_b] if file_b else []))
    from serving import display

    with connection as client:
        rule = client.rule(max_false_accept, prior=prior)
        if file_b is not None:
            decision = client.verify(file_a, file_b)
        else:
            from serving import recognition

            assert speaker is not None  # checked above
            enrolled = _gallery(gallery, gallery_key)
            decision = recognition.verify_speaker(client, enrolled, file_a, speaker)
    decision = rule.apply(decision)
    display.decision(decision, rule, as_json=as_json)
    raise typer.Exit(_STATUS_OF_VERDICT[decision.verdict])


def _verify_pairs(
    pairs: Path,
    connection: Connection,
    max_false_accept: float | None,
    prior: float,
    *,
    as_json: bool,
) -> None:
    from serving import bulk, display

    parsed = bulk.read_pair_list(pairs)
    all_usable = True
    with connection as client:
        rule = client.rule(max_false_accept, prior=prior)
        for compared in bulk.verify_pairs(client, parsed, rule):
            display.comparison(compared, as_json=as_json)
            all_usable = all_usable and compared.decision is not None
    if not all_usable:
        raise typer.Exit(UNUSABLE)


@app.command("identify")
@_with_client
def identify_command(
    connection: Connection,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings.")],
    top: Annotated[int, typer.Option(help="How many of the nearest to show.", min=1)] = 5,
    max_false_accept: MaxFalseAcceptOption = None,
    prior: PriorOption = defaults.PRIOR,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who speaks, or "unknown".

    Exit status: 0 known, 1 unknown, 4 inconclusive, 2 error.

    Of several recordings: 0 all answered, 1 some are not usable, 2 error.
    """
    if len(files) == 1:
        _check_present(*files)
    from serving import display, recognition

    enrolled = _gallery(gallery, gallery_key)
    with connection as client:
        rule = recognition.identification_rule(client, enrolled, max_false_accept, prior=prior)
        if len(files) > 1:
            _identify_each(files, enrolled, top, client, rule, as_json=as_json)
            return
        identification = recognition.identify(client, enrolled, files[0], top=top, rule=rule)
    display.identification(identification, rule, as_json=as_json)
    raise typer.Exit(_STATUS_OF_VERDICT[identification.verdict])


def _identify_each(
    files: Sequence[Path],
    gallery: "Gallery",
    top: int,
    client: "Client",
    rule: "DecisionRule",
    *,
    as_json: bool,
) -> None:
    from serving import bulk, display

    all_usable = True
    for answered in bulk.identify_each(client, gallery, files, top=top, rule=rule):
        display.answer(answered, as_json=as_json)
        all_usable = all_usable and answered.identification is not None
    if not all_usable:
        raise typer.Exit(UNUSABLE)


@app.command("embed")
@_with_client
def embed_command(
    connection: Connection,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Folder of speakers' folders or of recordings, or a manifest."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE.parquet", help="Gets a row a recording.")
    ],
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Also links in DATA that lead out of it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the embeddings of many recordings. Broken off, it goes on where it was."""
    check_present(data)
    from serving import display
    from serving.embedding_file import embed_data

    with connection as client, _progress_bar() as on_progress:
        embedded = embed_data(client, data, output, on_progress, follow_links=follow_links)
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
    """List what was done to a gallery, by whom and when; without names and embeddings."""
    from serving import display

    display.events(_gallery(gallery, None).ledger.events(name), as_json=as_json)


@app.command("gallery-key")
def gallery_key_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="For --gallery-key.")],
) -> None:
    """Make a key that seals a gallery, or put a new one before those of a file."""
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
    """Seal the embeddings and recordings of a gallery with a key, or with a new one."""
    from serving import display

    display.sealed(_gallery(gallery, gallery_key).seal(), as_json=as_json)


@app.command("reenroll")
@_with_client
def reenroll_command(
    connection: Connection,
    gallery: GalleryOption = defaults.GALLERY,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the gallery to a new model, from the recordings that were kept."""
    from serving import display, recognition

    enrolled = _gallery(gallery, gallery_key)
    with connection as client:
        done = recognition.reenroll(client, enrolled)
    display.reenrolled(done, as_json=as_json)
