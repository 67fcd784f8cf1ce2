"""The command line, `swar`.

Exit status: 0 done; 1 the model was trained but not blessed, the speakers differ or are unknown,
there is drift, or no model saw a recording; 2 the input, the settings or the command are at fault;
3 an unexpected error; 4 the answer is inconclusive; 130 interrupted; 141 the reader of the output,
such as `head`, closed it early. An error is one line on stderr, or with --json `{"error": "..."}`
on stdout.
"""

import itertools
import os
import signal
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TextIO

import typer

from components.json_text import to_json
from components.terminal import Console, drop, ensure_streams, say
from components.user_folders import ensure_home
from pipeline.config import PACKAGED, load_config
from pipeline.failures import RunFailed, file_error, one_line, user_error
from pipeline.models import operations
from pipeline.output.folder import run_folder
from serving.commands import gallery, recognition, servers
from serving.commands.options import FollowLinksOption, JsonOption, written_path

NOT_BLESSED, USER_ERROR, UNEXPECTED = 1, 2, 3
READER_GONE = 128 + signal.SIGPIPE  # as shells report it for other programs

app = typer.Typer(
    help="Speaker verification: recordings in, a served model out.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    str, typer.Option("--config", help=f"{', '.join(PACKAGED)}, or a YAML file.", metavar="CONFIG")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting, e.g. trainer.epochs=3.", metavar="KEY=VALUE"),
]


def _version(is_wanted: bool) -> None:
    if is_wanted:
        say(f"swar {metadata.version('swar')}")
        raise typer.Exit


@app.callback()
def _swar(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command("run")
def run_command(
    config: ConfigOption,
    data: Annotated[str, typer.Option(help="Folder of speakers' folders, manifest, or pattern.")],
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            parser=written_path,
            help="Folder for artifacts, log and published models.",
        ),
    ],
    settings: SetOption = None,
    beam_workers: Annotated[int, typer.Option(min=1, help="Processes that prepare the data.")] = 1,
) -> None:
    """Run the pipeline: prepare, train, evaluate and publish. What did not change is not redone."""
    tree = load_config(config, settings or ())
    from pipeline.local.runner import run

    summary = run(tree, data=data, output=output, beam_workers=beam_workers)
    Console().print(summary.render())
    if not summary.blessed:
        raise typer.Exit(NOT_BLESSED)


@app.command("compile")
def compile_command(
    config: ConfigOption,
    spec: Annotated[
        Path, typer.Argument(metavar="FILE", parser=written_path, help="Gets the YAML.")
    ],
    settings: SetOption = None,
) -> None:
    """Compile the pipeline for Vertex AI or Kubeflow Pipelines 2, as `engine` in CONFIG says."""
    tree = load_config(config, settings or ())
    from pipeline.engines.submission import compile_to

    compile_to(tree, spec)


@app.command("submit")
def submit_command(
    config: ConfigOption,
    data: Annotated[str, typer.Option(help="Folder or manifest that the engine reaches too.")],
    settings: SetOption = None,
) -> None:
    """Compile the pipeline and run it on Vertex AI or Kubeflow Pipelines 2."""
    tree = load_config(config, settings or ())
    from pipeline.engines.submission import submit

    say(submit(tree, data=data))


@app.command("evaluate")
def evaluate_command(
    model: operations.ModelArgument,
    data: Annotated[
        list[str],
        typer.Option(help="Folder of speakers' folders, or a manifest; again for another set."),
    ],
    trials: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare whole files, a line `label enrolment test`."),
    ] = None,
    duration: Annotated[
        list[float] | None,
        typer.Option(
            metavar="SECONDS", help="Speech in an utterance; again for more. [1.5, 3, 5, 10]"
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Noise, line, codec..., again for more; clean: none.",
            show_default="all",
        ),
    ] = None,
    split: Annotated[
        Literal["all", "unseen"],
        typer.Option(help="unseen: of the training's data, the speakers held out of it."),
    ] = "all",
    follow_links: FollowLinksOption = False,
    attacks: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Replayed, synthetic or converted speech, <claimed speaker>/<kind>/<file>, or a "
            "manifest with a column attack.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=written_path,
            help="New or empty folder for every score and figure.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE.html",
            parser=written_path,
            help="New or empty folder for a page about it, or a new FILE.html.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a published model on other recordings: error rates with intervals, by slice."""
    from pipeline.evaluation.command import EvaluationRequest, run

    request = EvaluationRequest(
        model,
        data,
        trial_list=trials,
        duration_seconds=duration or (),
        condition_names=condition or (),
        only_unseen=split == "unseen",
        follow_links=follow_links,
        attacks=attacks,
        output=output,
        report=report,
    )
    run(request, as_json=as_json)


@app.command("report")
def report_command(
    output: operations.OutputArgument,
    is_opened: Annotated[
        bool, typer.Option("--open/--no-open", help="Show it in the browser, or only say where.")
    ] = True,
) -> None:
    """Open the newest report: what the model was made from, how well it works, where it fails."""
    from pipeline.models.report_command import run

    run(run_folder(output), is_opened=is_opened)


@app.command("config")
def config_command(config: ConfigOption, settings: SetOption = None) -> None:
    """Print the resolved settings as YAML, with their digest."""
    tree = load_config(config, settings or ())
    say(f"# digest: {tree.digest()}\n{tree.to_yaml()}", end="")


@app.command("sample-data")
def sample_data_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", parser=written_path, help="New or empty folder.")
    ],
    speakers: Annotated[int, typer.Option(help="Number of synthetic speakers.")] = 12,
    seconds: Annotated[float, typer.Option(help="Speech of each speaker, in seconds.")] = 60.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same speech.")] = 0,
) -> None:
    """Write SYNTHETIC Nepali speech as a user's folder would look."""
    from pipeline.sample_data.speech import write_sample_speech

    summary = write_sample_speech(folder, speakers=speakers, seconds=seconds, seed=seed)
    say(str(summary))


app.add_typer(operations.app)
app.add_typer(servers.app)
app.add_typer(gallery.app)
app.add_typer(recognition.app)


def main() -> None:
    """Runs the command line and exits; a user's error gives one line and status 2.

    Only the user can read what a command writes, since most of it is biometric; only published
    models are opened to others, see `components.pusher.publish`.
    """
    umask = os.umask(0o077)
    ensure_streams()
    try:
        ensure_home()
        # Not standalone: errors in the command line are reported as other errors of the user.
        sys.exit(app(sys.argv[1:] or ["--help"], prog_name="swar", standalone_mode=False) or 0)
    except SystemExit as ended:
        # Typer and rich exit with 1 here, which would mean that speakers differ.
        if isinstance(ended.__context__, BrokenPipeError):
            sys.exit(READER_GONE)
        raise
    except Exception as error:
        for fault in (_usage_error, user_error, file_error):
            if (message := fault(error)) is not None:
                _fail(message, USER_ERROR)
        if not isinstance(error, RunFailed):
            _say_if_possible(traceback.format_exc().rstrip(), sys.stderr)
        _fail(str(error), UNEXPECTED)
    finally:
        os.umask(umask)


def _usage_error(error: BaseException) -> str | None:
    """One line on what is wrong with the command line; None for any other error."""
    if isinstance(error, typer.Abort):
        return "the input ended before the question was answered"
    if not isinstance(error, typer.TyperException):
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "swar"
    message = one_line(error.format_message()).replace("Value error, ", "").rstrip(".")
    return f"{message}: see `{command} -h`"


def _fail(message: str, status: int) -> NoReturn:
    """Exits with an error message, as JSON on stdout if the answer would have been JSON."""
    options = itertools.takewhile(lambda word: word != "--", sys.argv[1:])
    if "--json" in options:
        _say_if_possible(to_json({"error": message}, indent=None), sys.stdout)
    else:
        _say_if_possible(f"swar: error: {message}", sys.stderr)
    sys.exit(status)


def _say_if_possible(text: str, stream: TextIO) -> None:
    """Prints to a stream, or drops a stream that takes nothing."""
    try:
        say(text, stream=stream)
    except OSError:
        drop(stream, stream.fileno())
