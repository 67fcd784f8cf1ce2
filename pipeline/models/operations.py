"""Commands for a model that is in use: calibrate, lineage, drift, rollback, erase-speaker.

They check their arguments before they import what they need: TFX takes ten seconds to import, too
long to wait for "no such folder".
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from components.errors import SwarError
from components.json_text import to_json
from components.model.files import NAMES_OF_A_MODEL, check_model
from components.paths import check_folder, check_present
from components.quiet import libraries_quiet
from components.terminal import Console, say
from pipeline.config import load_config
from pipeline.models.drift_settings import DriftSettings
from pipeline.output.folder import (
    check_run,
    check_versions_folder,
    output_and_version,
    run_folder,
)
from serving.commands.connection import progress_bar
from serving.commands.options import FollowLinksOption, JsonOption, written_path

if TYPE_CHECKING:
    from pipeline.models.drift import Drift
    from pipeline.models.watched_drift import WatchedDrift

UNSEEN, DRIFTED = 1, 1  # exit statuses; 0: seen, or no drift; 2: error

app = typer.Typer()

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=f"{NAMES_OF_A_MODEL}.")]
OutputArgument = Annotated[
    str, typer.Argument(metavar="OUTPUT", help="Output folder of a run, or OUTPUT/published.")
]
OfRunArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="OUTPUT or OUTPUT/published: the newest; or a version."),
]


@app.command("calibrate")
def calibrate_command(
    model: ModelArgument,
    data: Annotated[str, typer.Option(help="Folder of speakers' folders, or a manifest.")],
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            parser=written_path,
            help="Gets the new version: OUTPUT/published, or a folder of your own.",
        ),
    ],
    follow_links: FollowLinksOption = False,
    as_json: JsonOption = False,
) -> None:
    """Set a model's threshold, probabilities and expected error rates by your own recordings."""
    check_model(model)
    check_present(data)
    check_versions_folder(output)
    with libraries_quiet() as stderr:
        from pipeline.models.calibration import calibrate_model
        from pipeline.models.display import calibration_table

        done = calibrate_model(model, data, output, Console(file=stderr), follow_links=follow_links)
    _show(asdict(done), calibration_table(done), as_json=as_json)


@app.command("lineage")
def lineage_command(
    model: OfRunArgument,
    recording: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Instead: which models of OUTPUT saw this file or folder."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a published model was made from, or which models saw a recording.

    Exit status: 0 listed, 1 no model saw the recording, 2 error.
    """
    if recording is None:
        output_and_version(model)
        with libraries_quiet():
            from pipeline.models.display import lineage_table
            from pipeline.models.lineage import model_lineage

            found = model_lineage(Path(model))
        _show(asdict(found), lineage_table(found), as_json=as_json)
        return
    output = run_folder(model)
    check_run(output)
    with libraries_quiet():
        from pipeline.models.display import sightings_table
        from pipeline.models.lineage import models_that_saw

        seen = models_that_saw(output, recording)
    _show([asdict(each) for each in seen], sightings_table(recording, seen), as_json=as_json)
    if not seen:
        raise typer.Exit(UNSEEN)


@app.command("drift")
def drift_command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="OUTPUT or OUTPUT/published: the newest; or a version. With --data.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of recordings that the model got.")
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Instead: what --watch-log wrote, with its own start."),
    ] = None,
    config: Annotated[
        str, typer.Option("--config", metavar="CONFIG", help="Its section drift has the bounds.")
    ] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting: drift.max_treble_db=0.4."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare recordings with those a model was trained on, or a watch log with its beginning.

    Exit status: 0 alike, 1 drift, 2 error.
    """
    bounds = load_config(config, settings or ()).drift
    if log is not None:
        if model is not None or data is not None:
            raise typer.BadParameter("give MODEL and --data FOLDER, or --log FILE alone")
        _drift_of_log(log, bounds, as_json=as_json)
        return
    if model is None or data is None:
        raise typer.BadParameter("give MODEL and --data FOLDER, or --log FILE")
    output_and_version(model)
    check_folder(data)
    with libraries_quiet() as stderr, progress_bar(stderr) as on_progress:
        from pipeline.models.display import drift_table
        from pipeline.models.drift import drift

        found = drift(Path(model), data, bounds, on_progress)
    _conclude(found, drift_table(found), as_json=as_json)


def _drift_of_log(log: Path, bounds: DriftSettings, *, as_json: bool) -> None:
    if not log.is_file():
        raise SwarError(f"{str(log)!r} is no file: name what --watch-log wrote")
    from pipeline.models.display import watched_drift_table
    from pipeline.models.watched_drift import watched_drift

    found = watched_drift(log, bounds)
    _conclude(found, watched_drift_table(found), as_json=as_json)


def _conclude(found: "Drift | WatchedDrift", table: RenderableType, *, as_json: bool) -> None:
    _show({"has_drifted": found.has_drifted, **asdict(found)}, table, as_json=as_json)
    if found.has_drifted:
        raise typer.Exit(DRIFTED)


@app.command("rollback")
def rollback_command(
    output: OutputArgument,
    to: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION",
            help="Of OUTPUT/published.",
            show_default="the model before this one",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Publish an earlier model again, as the newest version, so that serving goes back to it."""
    folder = run_folder(output)
    check_run(folder)
    with libraries_quiet():
        from pipeline.models.rollback import rollback

        done = rollback(folder, to)
    text = (
        f"version {done.from_version} was served; the model of version {done.to_version} is now "
        f"also version {done.new_version}, the newest: {done.path}"
    )
    say(to_json(asdict(done)) if as_json else text)


@app.command("erase-speaker")
def erase_speaker_command(
    output: OutputArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The speaker, as the data has it.")],
    as_json: JsonOption = False,
) -> None:
    """Remove a person from a run's folder, and tell which models must be trained anew."""
    folder = run_folder(output)
    check_run(folder)
    with libraries_quiet():
        from pipeline.models.erasure import erase_speaker

        done = erase_speaker(folder, name)
    if as_json:
        say(to_json(asdict(done)))
        return
    say(f"{done.recordings} rows of {name} removed, and {len(done.removed)} that hold more:")
    for each in (*done.removed, *(f"still has the name: {file}" for file in done.left)):
        say(each)
    for model in done.models:
        published = ", ".join(map(str, model.versions)) or "not published"
        seconds = ", ".join(f"{split} {value:.1f} s" for split, value in model.seconds.items())
        say(f"train anew: {model.model_digest} ({published}) knows {name} from {seconds}")
    say(
        "remove the recordings from the data, run again, and delete the versions named here: until "
        "then their models hold what they learned of the person"
    )


def _show(value: Any, table: RenderableType, *, as_json: bool) -> None:
    if as_json:
        say(to_json(value))
    else:
        Console().print(table)
