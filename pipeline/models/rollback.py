"""`swar rollback`: publishes an earlier model again, so that serving goes back to it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from components.errors import SwarError
from components.model.files import PUBLISHED
from components.pusher.publish import publish
from components.rolled_back import clear_rolled_back, is_rolled_back, mark_rolled_back
from pipeline.failures import storage_errors
from pipeline.output.folder import ModelIdentity, claimed, published_versions
from pipeline.output.records import Records


@dataclass(frozen=True)
class Rollback:
    """What a rollback did."""

    from_version: int
    """The version that was served."""
    to_version: int
    """The version whose model is served now."""
    new_version: int
    """The new version of that model."""
    path: str


def rollback(output: Path, to: int | None = None) -> Rollback:
    """Publishes an earlier model once more, as the newest version.

    TensorFlow Serving serves the version with the highest number, so the new version takes over in
    one step, as any new model does, and nothing that is served is removed. Models that were
    published after the earlier one are marked: they are no baseline, and no run publishes them
    again.

    Args:
        output: folder of a local run.
        to: the version; None for the newest one of another model that was not rolled back.

    Raises:
        SwarError: there is no such version, it is served already, a run is at work, or the folder
            was moved or copied, or cannot be written.
    """
    records = Records(output)
    with storage_errors(records.output), claimed(records.output):
        return _rolled_back(records, to)


def _rolled_back(records: Records, to: int | None) -> Rollback:
    output = records.output
    versions = published_versions(output)
    if not versions:
        raise SwarError(f"{output} has published no model: there is nothing to go back to")
    for published in versions.values():
        if model := records.models_by_digest.get(published.model_digest):
            records.check_place(model)
    served = max(versions)
    target = _earlier(records, versions) if to is None else to
    if target not in versions:
        raise SwarError(f"{output} has no version {target}; it has {', '.join(map(str, versions))}")
    if versions[target] == versions[served]:
        raise SwarError(f"the model of version {target} is served already, as {served}")
    # The marks first: after an interruption, the same command finishes the work.
    _mark(records, versions, target)
    folder = output / PUBLISHED
    path = Path(publish(str(folder / str(target)), str(folder)))
    return Rollback(served, target, int(path.name), str(path))


def _mark(records: Records, versions: dict[int, ModelIdentity], target: int) -> None:
    """Marks the models published after a version as rolled back, and unmarks its own."""
    digest = versions[target].model_digest
    later = {each.model_digest for version, each in versions.items() if version > target}
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for other in sorted(later - {digest}):
        if model := records.models_by_digest.get(other):
            mark_rolled_back(model.uri, now)
    if model := records.models_by_digest.get(digest):
        clear_rolled_back(model.uri)


def _earlier(records: Records, versions: dict[int, ModelIdentity]) -> int:
    """The newest version of another model or calibration that was not rolled back."""
    served = versions[max(versions)]
    first = min(version for version, each in versions.items() if each == served)
    for version in sorted(versions, reverse=True):
        digest = versions[version].model_digest
        model = records.models_by_digest.get(digest)
        if model is None or not Path(model.uri).is_dir() or digest == served.model_digest:
            # There can be no mark, or it is the model's and not one of its calibrations': only
            # versions before the served one are safe.
            is_earlier = version < first
        else:
            is_earlier = not is_rolled_back(model.uri)
        if is_earlier:
            return version
    raise SwarError(
        f"{records.output} has published no other model that was not rolled back: name a version "
        f"with --to, of {', '.join(map(str, versions))}"
    )
