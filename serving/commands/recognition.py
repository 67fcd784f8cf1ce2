"""The commands that ask a model about recordings: verify, identify, embed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from components.paths import check_present
from components.quiet import real_stderr
from serving import defaults
from serving.commands.connection import Connection, progress_bar, with_client
from serving.commands.options import (
    STDIN,
    ChannelOption,
    FollowLinksOption,
    GalleryKeyOption,
    GalleryOption,
    JsonOption,
    check_recordings,
    on_channel,
    open_gallery,
    share,
    show_gallery_used,
    with_stdin,
    written_path,
)

if TYPE_CHECKING:
    from serving.bulk import Answer
    from serving.decisions import DecisionRule
    from serving.gallery import Gallery

# Exit statuses; 0 is yes, or that all of many were answered, 2 an error.
UNUSABLE: Final = 1
_STATUS_OF_VERDICT: Final = {"same": 0, "different": 1, "inconclusive": 4}

app = typer.Typer()

MaxFalseAcceptOption = Annotated[
    float | None,
    typer.Option(
        "--max-false-accept",
        metavar="SHARE",
        parser=share,
        help="Of comparisons, or queries, of other people that are accepted at most, such as 0.01; "
        "what a looser risk would accept is inconclusive.",
        show_default="the model's own threshold",
    ),
]
PriorOption = Annotated[
    float,
    typer.Option(
        "--prior",
        metavar="P",
        parser=share,
        help="Of the same speaker, which the probability takes for granted.",
    ),
]


@app.command("verify")
@with_client
def verify_command(
    connection: Connection,
    file_a: Annotated[
        Path | None, typer.Argument(metavar="A", help="A recording, unless --pairs; - is stdin.")
    ] = None,
    file_b: Annotated[
        Path | None, typer.Argument(metavar="B", help="Another one, unless --speaker.")
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
    channel: ChannelOption = None,
    gallery: GalleryOption = None,
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
        _verify_pairs(pairs, connection, max_false_accept, prior, channel, as_json=as_json)
        return
    if file_a is None or (file_b is None) == (speaker is None):
        raise typer.BadParameter("give a second recording or --speaker NAME, one of them")
    files = [file_a, *([file_b] if file_b else [])]
    check_recordings(*files)
    from serving import display

    enrolled = None if speaker is None else open_gallery(gallery, gallery_key)
    with with_stdin(files) as named, connection as client:
        recordings = on_channel(named, channel)
        rule = client.rule(max_false_accept, prior=prior)
        if enrolled is None:
            decision = client.verify(recordings[0], recordings[1], rule)
        else:
            from serving import recognition

            assert speaker is not None
            decision = recognition.verify_speaker(client, enrolled, recordings[0], speaker, rule)
    display.decision(decision, rule, as_json=as_json)
    if enrolled is not None:
        show_gallery_used(enrolled)
    raise typer.Exit(_STATUS_OF_VERDICT[decision.verdict])


def _verify_pairs(
    pairs: Path,
    connection: Connection,
    max_false_accept: float | None,
    prior: float,
    channel: int | None,
    *,
    as_json: bool,
) -> None:
    from serving import bulk, display

    parsed = bulk.read_pair_list(pairs)
    all_usable = True
    with connection as client:
        rule = client.rule(max_false_accept, prior=prior)
        for compared in bulk.verify_pairs(client, parsed, rule, channel):
            display.comparison(compared, rule, as_json=as_json)
            all_usable = all_usable and compared.decision is not None
    display.expected(rule, as_json=as_json)
    if not all_usable:
        raise typer.Exit(UNUSABLE)


@app.command("identify")
@with_client
def identify_command(
    connection: Connection,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings; - is stdin.")],
    top: Annotated[int, typer.Option(help="How many of the nearest to show.", min=1)] = 5,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Who speaks when in one recording of several people.")
    ] = False,
    as_rttm: Annotated[
        bool, typer.Option("--rttm", help="Print the timeline as RTTM, for diarisation tools.")
    ] = False,
    among: Annotated[
        list[str] | None,
        typer.Option(
            "--among",
            metavar="NAME",
            help="An enrolled speaker who may be speaking, repeated for each; nobody else is "
            "compared. The fewer there are, the less near the nearest has to be.",
            show_default="all who are enrolled",
        ),
    ] = None,
    max_false_accept: MaxFalseAcceptOption = None,
    prior: PriorOption = defaults.PRIOR,
    channel: ChannelOption = None,
    gallery: GalleryOption = None,
    gallery_key: GalleryKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who speaks, or "unknown".

    Exit status: 0 known, 1 unknown, 4 inconclusive, 2 error.

    Of several recordings: 0 all answered, 1 some are not usable, 2 error. Of a timeline: 0
    answered, 2 error.
    """
    if (as_rttm and not timeline) or (as_rttm and as_json) or (timeline and len(files) > 1):
        raise typer.BadParameter("--timeline takes one recording, and --rttm or --json besides")
    check_recordings(*(files if len(files) == 1 else [each for each in files if each == STDIN]))
    from serving import bulk, display, recognition

    enrolled = open_gallery(gallery, gallery_key)
    candidates = recognition.enrolled_names(enrolled, among or None)
    with with_stdin(files) as recordings, connection as client:
        rule = recognition.identification_rule(
            client, enrolled, max_false_accept, prior=prior, among=candidates
        )
        if len(recordings) > 1:
            answers = bulk.identify_each(
                client, enrolled, recordings, top=top, rule=rule, channel=channel, among=candidates
            )
            _show_each(files, answers, enrolled, rule, as_json=as_json)
            return
        (recording,) = on_channel(recordings, channel)
        if timeline:
            from serving.recordings import printable
            from serving.timeline import timeline_of

            answer = timeline_of(client, enrolled, recording, top=top, rule=rule, among=candidates)
            if as_rttm:
                display.rttm(answer, printable(files[0].stem), channel or 1)
            else:
                display.timeline(answer, rule, as_json=as_json)
            show_gallery_used(enrolled)
            return
        query = recognition.usable_embedding(client, recording)
        identification = recognition.identify_embedding(
            client, enrolled, query, top=top, rule=rule, among=candidates
        )
    display.identification(identification, rule, as_json=as_json)
    show_gallery_used(enrolled)
    raise typer.Exit(_STATUS_OF_VERDICT[identification.verdict])


def _show_each(
    files: Sequence[Path],
    answers: "Iterable[Answer]",
    gallery: "Gallery",
    rule: "DecisionRule",
    *,
    as_json: bool,
) -> None:
    from serving import display
    from serving.recordings import printable

    all_usable = True
    for file, answered in zip(files, answers, strict=True):
        # As the user named it: stdin's content lies in a temporary file.
        display.answer(replace(answered, recording=printable(file)), rule, as_json=as_json)
        all_usable = all_usable and answered.identification is not None
    display.expected(rule, as_json=as_json)
    show_gallery_used(gallery)
    if not all_usable:
        raise typer.Exit(UNUSABLE)


@app.command("embed")
@with_client
def embed_command(
    connection: Connection,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Folder of speakers' folders or of recordings, manifest; - is stdin.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE.parquet",
            parser=written_path,
            help="Gets a row a recording.",
        ),
    ],
    follow_links: FollowLinksOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the embeddings of many recordings. Broken off, it goes on where it was."""
    piped = [STDIN] if data == str(STDIN) else []
    check_recordings(*piped)
    if not piped:
        check_present(data)
    from serving import display
    from serving.embedding_file import embed_data

    with (
        with_stdin(piped) as recordings,
        connection as client,
        real_stderr() as stderr,
        progress_bar(stderr) as on_progress,
    ):
        data = str(recordings[0].parent) if recordings else data
        embedded = embed_data(client, data, output, on_progress, follow_links=follow_links)
    display.embedded(embedded, as_json=as_json)
