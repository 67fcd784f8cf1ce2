"""Which model answers a command: the options that name it, and the client made from them."""

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from components.errors import SwarError
from components.model.files import NAMES_OF_A_MODEL, check_model
from components.quiet import native_code_quiet, real_stderr
from serving import defaults
from serving.commands.options import written_path
from serving.credentials import Credentials

if TYPE_CHECKING:
    from serving.client import Client
    from serving.watching import Watcher

MODEL_VARIABLE: Final = "SWAR_MODEL"
URL_VARIABLE: Final = "SWAR_URL"

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar=MODEL_VARIABLE,
        help=f"{NAMES_OF_A_MODEL}; it runs in this process.",
        show_default=defaults.MODEL,
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=URL_VARIABLE,
        help="A server instead: grpc://HOST:PORT or http://HOST:PORT; grpcs, https: TLS.",
    ),
]
ModelNameOption = Annotated[
    str | None,
    typer.Option("--model-name", help="What it calls the model.", show_default=defaults.MODEL_NAME),
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        help="Seconds for a request to it, in which it may still be starting.",
        show_default=f"{defaults.DEADLINE_SECONDS:g}",
        min=0.001,
        max=defaults.LONGEST_DEADLINE_SECONDS,
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

WatchLogOption = Annotated[
    Path | None,
    typer.Option(
        "--watch-log",
        metavar="FILE",
        parser=written_path,
        help="Gets a line of every recording and decision, for `swar drift`; no audio, no names.",
    ),
]

Connection = contextlib.AbstractContextManager["Client"]


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `_client`, and their client as its `connection`."""
    options = inspect.signature(_client, eval_str=True).parameters
    own = dict(inspect.signature(command, eval_str=True).parameters)
    del own["connection"]

    @functools.wraps(command)
    def command_with_client(**given: Any) -> None:
        connection = _client(**{name: given.pop(name) for name in options})
        command(connection=connection, **given)

    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in (*own.values(), *options.values())
    ]
    command_with_client.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command_with_client.__annotations__ = {each.name: each.annotation for each in parameters}
    return command_with_client


def _client(
    context: typer.Context,
    model: ModelOption = None,
    url: UrlOption = None,
    model_name: ModelNameOption = None,
    deadline: DeadlineOption = None,
    ca: CaOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    token_file: TokenFileOption = None,
    watch_log: WatchLogOption = None,
) -> Connection:
    """The client that the options name; they are checked before anything is imported or opened.

    Raises:
        SwarError: options exclude one another, there is no such model, or the log cannot be
            written.
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
        url, model = _chosen(context, url, model)
    if url is None and (given := [name for name, value in of_server.items() if value is not None]):
        raise SwarError(f"{given[0]} is about a server: name it with --url")
    watchers: list[Watcher] = []
    if watch_log is not None:
        from serving.watching import WatchLog

        watchers.append(WatchLog(watch_log))
    if url is None:
        name = defaults.MODEL if model is None else model
        check_model(name)
        return _opened(lambda client: client.in_process(name, watchers=watchers))
    return _opened(
        lambda client: client(
            url,
            model=defaults.MODEL_NAME if model_name is None else model_name,
            deadline_seconds=defaults.DEADLINE_SECONDS if deadline is None else deadline,
            credentials=Credentials(ca, certificate, key, token_file),
            watchers=watchers,
        )
    )


def _chosen(context: typer.Context, url: str, model: str) -> tuple[str | None, str | None]:
    """URL and model, with None for the one that an environment variable names."""
    if _is_given(context, "url") and _is_given(context, "model"):
        raise SwarError("--model runs in this process and --url asks a server: give one of them")
    if _is_given(context, "url"):
        return url, None
    if _is_given(context, "model"):
        return None, model
    raise SwarError(
        f"{MODEL_VARIABLE} and {URL_VARIABLE} are both set: unset one, or give --model or --url"
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@contextlib.contextmanager
def _opened(make: Callable[[type["Client"]], "Client"]) -> Iterator["Client"]:
    """A client; its modules are imported only here."""
    from serving.client import Client

    with (
        real_stderr() as stderr,
        native_code_quiet(),
        progress_shown(stderr),
        make(Client) as client,
    ):
        yield client


@contextlib.contextmanager
def progress_shown(stream: TextIO) -> Iterator[None]:
    """While it lasts, the stream shows why a call waits: the base model or a server starts."""
    from components.terminal import PrintableFormatter

    progress = logging.getLogger("swar.progress")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter())
    progress.addHandler(handler)
    progress.setLevel(logging.INFO)
    try:
        yield
    finally:
        progress.removeHandler(handler)


@contextlib.contextmanager
def progress_bar(stream: TextIO) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; yields a function of how many recordings are done, of how many."""
    from rich.progress import Progress

    from components.terminal import Console

    console = Console(file=stream)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("recordings")
        yield lambda done, of: progress.update(task, completed=done, total=of)
