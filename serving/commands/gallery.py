"""The commands around a gallery: enrol, list, forget, seal."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from components.errors import SwarError
from serving.commands.connection import Connection, with_client
from serving.commands.options import (
    ChannelOption,
    GalleryKeyOption,
    GalleryOption,
    JsonOption,
    check_recordings,
    on_channel,
    open_gallery,
    show_gallery_used,
    with_stdin,
)

app = typer.Typer()

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The speaker.")]


@app.command("enrol", hidden=True)
@app.command("enroll")
@with_client
def enroll_command(
    connection: Connection,
    name: NameArgument,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="5 to 30 s of speech in all; - is stdin."),
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
            help="Also two people in a file, what does not sound like the rest, what is clipped, "
            "or a name that looks like another.",
        ),
    ] = False,
    channel: ChannelOption = None,
    gallery: GalleryOption = None,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a speaker, or add recordings to one."""
    check_recordings(*files)
    from serving import display, recognition

    expires_at = None if expires is None else expires.replace(tzinfo=UTC)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise SwarError(
            f"--expires {expires_at:%Y-%m-%d} is no later day than today (UTC): the recordings "
            "would never be used; name a later one"
        )
    enrolled = open_gallery(gallery, gallery_key)
    with with_stdin(files) as recordings, connection as client:
        report = recognition.enroll(
            client,
            enrolled,
            name,
            on_channel(recordings, channel),
            keep_audio=keep_audio,
            consent=consent,
            expires_at=expires_at,
            force=force,
        )
    display.enrolment(report, as_json=as_json)
    show_gallery_used(enrolled)


@app.command("speakers")
def speakers_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A speaker, whose recordings to list.")
    ] = None,
    gallery: GalleryOption = None,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the enrolled speakers, or the recordings of one."""
    from serving import display

    enrolled = open_gallery(gallery, gallery_key)
    if name is None:
        display.speakers(enrolled.speakers(), as_json=as_json)
    else:
        display.recordings(enrolled.recordings(name), as_json=as_json)
    show_gallery_used(enrolled)


@app.command("forget")
def forget_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The speaker, unless --expired.")
    ] = None,
    recording: Annotated[
        str | None,
        typer.Option("--recording", metavar="ID", help="Only this one, see `swar speakers NAME`."),
    ] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="All recordings that have expired.")
    ] = False,
    gallery: GalleryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a speaker or one recording, and every byte of it from the disk."""
    from serving import display

    if (name is None) != expired or (expired and recording is not None):
        raise typer.BadParameter("give the NAME of a speaker or --expired")
    enrolled = open_gallery(gallery, None)
    if name is None:
        display.expired(enrolled.forget_expired(), as_json=as_json)
    else:
        removed = enrolled.forget(name, recording=recording)
        display.forgotten(name, removed, one_recording=recording is not None, as_json=as_json)
    show_gallery_used(enrolled)


@app.command("opt-out")
def opt_out_command(
    name: NameArgument,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the speaker be enrolled again.")
    ] = False,
    gallery: GalleryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget who has that name or one that looks like it, and refuse to enrol them."""
    from serving import display

    enrolled = open_gallery(gallery, None)
    if undo:
        enrolled.ledger.opt_in(name)
        display.opted_in(name, as_json=as_json)
    else:
        display.opted_out(name, enrolled.opt_out(name), as_json=as_json)
    show_gallery_used(enrolled)


@app.command("ledger")
def ledger_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only what was about this speaker.")
    ] = None,
    gallery: GalleryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was done to a gallery, by whom and when; without names and embeddings."""
    from serving import display

    enrolled = open_gallery(gallery, None)
    display.events(enrolled.ledger.events(name), as_json=as_json)
    show_gallery_used(enrolled)


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
    gallery: GalleryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal the embeddings and recordings of a gallery with a key, or with a new one."""
    from serving import display

    enrolled = open_gallery(gallery, gallery_key)
    display.sealed(enrolled.seal(), as_json=as_json)
    show_gallery_used(enrolled)


@app.command("reenrol", hidden=True)
@app.command("reenroll")
@with_client
def reenroll_command(
    connection: Connection,
    gallery: GalleryOption = None,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the gallery to a new model, from the recordings that were kept."""
    from serving import display, recognition

    enrolled = open_gallery(gallery, gallery_key)
    with connection as client:
        done = recognition.reenroll(client, enrolled)
    display.reenrolled(done, as_json=as_json)
    show_gallery_used(enrolled)
