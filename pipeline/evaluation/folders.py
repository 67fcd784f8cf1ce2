"""A published model judged on folders of speakers: every utterance against every other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mode

from components.errors import SwarError, count_reasons
from components.model.files import card_settings, model_folder
from components.model.published import PublishedModel
from components.recordings.files import UNCOUNTED_REASONS
from components.recordings.sources import Listing
from components.recordings.splitting import unseen_speakers
from components.settings import SpectrogramSettings, SpeechSettings
from components.terminal import Console
from components.verification.judge import JudgeSettings, judge_set
from components.verification.utterances import Unused
from pipeline.evaluation.attacks import score_attacks
from pipeline.evaluation.scoring import (
    ScoredEvaluation,
    SetScores,
    by_speaker,
    conclude,
    list_sets,
    name_sets,
    sets_calibrated_on,
    sets_trained_on,
    shown,
)
from pipeline.evaluation.speech import Cutter


def evaluate(
    model: str | Path,
    data: Sequence[str],
    settings: JudgeSettings,
    console: Console,
    *,
    only_unseen: bool,
    follow_links: bool = False,
    attacks: str | None = None,
) -> ScoredEvaluation:
    """Cuts, embeds and compares every speaker's speech, set by set.

    Args:
        model: a version's folder, or the folder of all versions.
        data: folders of speakers, or manifests; each is a set, named by its path's last part.
        settings: bounds and seed.
        console: shows the progress.
        only_unseen: leave out the speakers that the model was trained on.
        follow_links: whether links in the data that lead out of it are followed.
        attacks: folder or manifest of recordings that claim to be of the data's speakers; the
            data must then be one set. See `score_attacks`.

    Raises:
        SwarError: the model or the data is at fault, or `only_unseen` is set and a set is not
            the whole and unchanged data of the training.
    """
    sets = name_sets(data)
    version = model_folder(model)
    listings = list_sets(sets, version, console, follow_links=follow_links)
    served = PublishedModel(version)
    trained_on = sets_trained_on(listings, served)
    calibrated_on = sets_calibrated_on(listings, served)
    if only_unseen:
        listings = {
            name: _without_seen(name, listing, served, is_known=name in trained_on)
            for name, listing in listings.items()
        }
    claims = None
    if attacks is not None:
        claims = score_attacks(served, listings, attacks, console, follow_links=follow_links)
    scores = [
        _score_set(name, listing, served, settings, console) for name, listing in listings.items()
    ]
    return conclude(
        served,
        sets,
        settings,
        scores,
        trained_on=trained_on,
        calibrated_on=calibrated_on,
        only_unseen=only_unseen,
        claims=claims,
    )


def _without_seen(
    name: str, listing: Listing, served: PublishedModel, *, is_known: bool
) -> Listing:
    """The part of a set that is of speakers held out of training as `unseen`."""
    if not is_known:
        raise SwarError(
            f"{name} is not, as a whole and unchanged, the data that {served.folder} was trained "
            "on, so that who was held out is not known: give the training's data as it was, or "
            "leave --split out if it trained on none of these speakers (swar lineage OUTPUT "
            "--recording FOLDER tells which models saw the recordings of a folder)"
        )
    speech, _ = front_end(served)
    unseen = unseen_speakers(listing.speakers, speech)
    if not unseen:
        raise SwarError(
            f"{served.folder} held no speaker out of its training "
            f"(speech.unseen_speaker_fraction is {speech.unseen_speaker_fraction:g}): leave "
            "--split out, or give recordings of other people"
        )
    recordings = tuple(item for item in listing.recordings if item.speaker in unseen)
    return replace(listing, recordings=recordings, speakers=unseen)


def _score_set(
    name: str,
    listing: Listing,
    served: PublishedModel,
    settings: JudgeSettings,
    console: Console,
) -> SetScores:
    recordings = by_speaker(listing)
    listed = [Unused(name, item.file, item.reason, item.detail) for item in listing.rejects]
    _check_speakers(name, len(recordings), settings, listing, listed)
    speech, window = front_end(served)
    plan = settings.plan(name, list(recordings), window, speech.sample_rate)
    cutter = Cutter(plan.utterances, speech, window)
    groups = (cutter.cut(own) for own in recordings.values())
    with shown(console, f"{name}: speakers", len(recordings)) as track:
        columns = {each.recording: each.columns for each in listing.recordings}
        judgement = judge_set(plan, track(groups), served, settings, columns)
    unused = listed + cutter.rejected
    heard = judgement.embedded.utterances["speaker"].nunique()
    _check_speakers(name, heard, settings, listing, unused)
    return SetScores(judgement, unused, cutter.repeated)


def _check_speakers(
    name: str, speakers: int, settings: JudgeSettings, listing: Listing, unused: Sequence[Unused]
) -> None:
    """Raises SwarError for fewer than two speakers, and says why recordings cannot be used.

    Args:
        name: of the set.
        speakers: how many have speech.
        settings: hold how much speech is needed.
        listing: the set.
        unused: recordings that are known to be unusable.
    """
    if speakers >= 2:
        return
    lost = {each.name: each.reason for each in unused if each.reason not in UNCOUNTED_REASONS}
    total = len({item.recording for item in listing.recordings} | lost.keys())
    why = ""
    if lost:
        commonest = mode(lost.values())
        example = next(name for name, reason in lost.items() if reason == commonest)
        reasons = count_reasons(lost.values())
        why = f"{len(lost)} of {total} recordings cannot be used: {reasons}, such as {example!r}"
    if why and len(lost) == total and "too_short" not in lost.values():
        raise SwarError(f"{name}: {why}: mend or replace them")
    raise SwarError(
        f"{name}: {speakers} speaker(s) with enough speech in a recording for an utterance of "
        f"{min(settings.duration_seconds):g} s, verification needs at least 2"
        f"{why and f' ({why})'}: add recordings, or choose a shorter --duration"
    )


def front_end(served: PublishedModel) -> tuple[SpeechSettings, int]:
    """The model's settings of silence removal, and the samples of its window."""
    speech = card_settings(served.card, "speech", SpeechSettings, served.folder)
    spectrogram = card_settings(served.card, "spectrogram", SpectrogramSettings, served.folder)
    return speech, spectrogram.window_samples(speech.sample_rate)
