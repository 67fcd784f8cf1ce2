"""`swar rollback`: what was published before is published again, and serving goes back to it."""

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
    """What was done."""

    from_version: int
    """The one that was served."""
    to_version: int
    """The one whose model is served now."""
    new_version: int
    """What it is called now."""
    path: str


def rollback(output: Path, to: int | None = None) -> Rollback:
    """Publishes an earlier model once more, as the newest version.

    TensorFlow Serving serves the version with the highest number: a number that is higher still
    takes over as any new model does, in one step, and nothing that is served is removed. The
    models that were published after the earlier one are marked: they are no baseline, and no run
    publishes them again.

    Args:
        output: folder of a local run.
        to: the version; None for the newest one of another model that was not rolled back.

    Raises:
        SwarError: there is no such version, it is served already, a run is at work, the folder
            was moved or copied, or it cannot be written.
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
    # First the marks: killed in between, the same command finishes the work.
    _mark(records, versions, target)
    folder = output / PUBLISHED
    path = Path(publish(str(folder / str(target)), str(folder)))
    return Rollback(served, target, int(path.name), str(path))


def _mark(records: Records, versions: dict[int, ModelIdentity], target: int) -> None:
    """The models behind a version are rolled back, its own is not."""
    digest = versions[target].model_digest
    later = {each.model_digest for version, each in versions.items() if version > target}
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for other in sorted(later - {digest}):
        if model := records.models_by_digest.get(other):
            mark_rolled_back(model.uri, now)
    if model := records.models_by_digest.get(digest):
        clear_rolled_back(model.uri)


def _earlier(records: Records, versions: dict[int, ModelIdentity]) -> int:
    """The newest version of another model or calibration than is served, not rolled back."""
    served = versions[max(versions)]
    first = min(version for version, each in versions.items() if each == served)
    for version in sorted(versions, reverse=True):
        digest = versions[version].model_digest
        model = records.models_by_digest.get(digest)
        if model is None or not Path(model.uri).is_dir() or digest == served.model_digest:
            # Nothing there bears a mark, or it is of the model and not of one of its
            # calibrations: only what came before what is served is safe.
            is_earlier = version < first
        else:
            is_earlier = not is_rolled_back(model.uri)
        if is_earlier:
            return version
    raise SwarError(
        f"{records.output} has published no other model that was not rolled back: name a version "
        f"with --to, of {', '.join(map(str, versions))}"
    )
