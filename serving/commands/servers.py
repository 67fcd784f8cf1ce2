"""The commands that serve a model to programs and the web page to people."""

import contextlib
import errno
import getpass
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from components.errors import SwarError
from components.model.files import (
    BASE,
    NAMES_OF_A_MODEL,
    check_model,
    is_version_name,
    version_folder,
)
from components.quiet import real_stderr, tensorflow_quiet
from components.terminal import say
from serving import defaults
from serving.commands.connection import Connection, progress_shown, with_client
from serving.commands.options import GalleryKeyOption, GalleryOption, open_gallery
from serving.standin.hosts import check_host

if TYPE_CHECKING:
    from serving.web.login import Login

app = typer.Typer()

_LOOK_SECONDS: Final = 1.0
"""Between two checks whether an awaited model is there."""


@app.command("serve")
def serve_command(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=f"{NAMES_OF_A_MODEL}; a version is served alone."),
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
    wait: Annotated[
        bool, typer.Option("--wait", help="Where MODEL is not there yet, until it is published.")
    ] = False,
) -> None:
    """Serve a model locally: a stand-in that speaks TF Serving's REST and gRPC."""
    labels = dict(map(_label, label or ()))
    check_host(host, open_to_network)
    if rest_port == grpc_port != 0:
        raise SwarError(f"--rest-port and --grpc-port are both {rest_port}; choose another port")
    _check_free(host, rest_port, grpc_port)
    if wait:
        _wait_for(model)
    check_model(model)
    # For good, since TensorFlow's C++ also logs while it loads a version that is published later.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    with contextlib.ExitStack() as starting:
        starting.enter_context(_warming_up(model))
        with tensorflow_quiet():
            from serving.server import ServerSettings, serve
            from serving.standin.batcher import Batching

            folder, version = _served_versions(model)
        settings = ServerSettings(
            folder,
            model_name,
            host,
            rest_port,
            grpc_port,
            version=version,
            open_to_network=open_to_network,
            public_hosts=tuple(public_host or ()),
            labels=labels,
            allow_reload=allow_reload,
            batching=Batching(max_batch_size, batch_timeout_micros),
        )
        serve(settings, on_ready=starting.close)


def _wait_for(model: str) -> None:
    """Returns once a model of that name exists; says on stderr what it waits for."""
    is_said = False
    while True:
        try:
            return check_model(model)
        except SwarError as error:
            if not is_said:
                say(f"waiting for a model: {error.fault}", error=True)
            is_said = True
        time.sleep(_LOOK_SECONDS)


def _check_free(host: str, *ports: int) -> None:
    """Listens for a moment, before slow imports, to see that the ports are free.

    Args:
        host: address or name to listen on.
        ports: ports of the host; 0 is any free one.

    Raises:
        SwarError: another process has a port, or this machine is not the host.
    """
    for port in ports:
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen(1)
        except OSError as error:
            is_elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            raise SwarError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another "
                f"{'--host' if is_elsewhere else 'port'}"
            ) from error


def _served_versions(model: str) -> tuple[Path, int | None]:
    """The folder of versions that a name means, and the version if it names only one."""
    if model == BASE:
        from components.model.base import base_model_folder

        return base_model_folder().parent, None
    folder = version_folder(Path(model))
    if folder != Path(model):
        return folder.parent, None
    folder = folder.absolute()
    if not is_version_name(folder.name):
        raise SwarError(f"{folder} is a version without a number: rename it to one, such as 1")
    return folder.parent, int(folder.name)


@contextlib.contextmanager
def _warming_up(model: str) -> Iterator[None]:
    """Shows on stderr that a model is not served yet: a bar on a terminal, else a line."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from components.terminal import Console

    with real_stderr() as stderr:
        console = Console(file=stderr)
        if not console.is_terminal:
            console.print(f"warming up {model}", markup=False, highlight=False, soft_wrap=True)
            with progress_shown(stderr):
                yield
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        # It shows above the bar what is written to sys.stderr.
        with (
            Progress(*columns, console=console, transient=True) as progress,
            progress_shown(sys.stderr),
        ):
            progress.add_task(f"warming up {model}", total=None)  # of unknown duration
            yield


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not name or not is_version_name(version):
        raise SwarError(f"--label {text!r} is not LABEL=VERSION, for example stable=1700000000")
    return name, int(version)


@app.command("app")
@with_client
def app_command(
    connection: Connection,
    gallery: GalleryOption = None,
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
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Counts decisions and statuses for Prometheus, on 127.0.0.1.", min=0, max=65535
        ),
    ] = None,
) -> None:
    """Open the web page: record or upload, enrol, verify, identify."""
    _check_free(host, port)
    if metrics_port is not None:
        _check_free("127.0.0.1", metrics_port)
    from serving.web.guard import PageSettings
    from serving.web.page import launch

    enrolled = open_gallery(gallery, gallery_key)
    login = _login(auth, auth_header, auth_proxy or [])
    settings = PageSettings(host, port, tuple(public_host or ()), login)
    settings.check()
    with connection as client, contextlib.ExitStack() as stack:
        if metrics_port is not None:
            from serving.watch_counters import WatchCounters

            counters = WatchCounters()
            client.watchers.append(counters)
            stack.enter_context(counters.served(metrics_port))
        launch(client, enrolled, settings)


def _login(file: Path | None, header: str | None, proxies: Sequence[str]) -> "Login | None":
    """Raises SwarError if the options exclude one another."""
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

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # else the typed text is shown
        try:
            password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        except getpass.GetPassWarning as error:
            raise SwarError(
                "app-password asks for the password on a terminal, and there is none: run it in one"
            ) from error
    write_password(file, name, password)
