"""Which versions of the model are loaded, and which one a request means.

The latest version of the folder and those that labels name are served. A new version is
loaded and warmed up beside the old one, then takes over; the old one finishes its requests.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from components.errors import SwarError
from components.model.digest import check_digests
from components.model.files import published_folders
from components.model.published import check_path
from serving.standin.servable import Servable
from serving.standin.status import as_op_error, invalid

log = logging.getLogger("swar.serving")

State = get_model_status_pb2.ModelVersionStatus.State


class ModelStore:
    """The versions of one model. An async context manager, to be used on one event loop.

    Args:
        model_dir: folder of `<version>/saved_model.pb`.
        model_name: what requests call the model.
        labels: label to version; these versions are kept loaded beside the latest.
        poll_seconds: between two looks at the folder.
        version: the only one that is served, whatever else the folder holds; None for the latest.

    Entering it loads the versions. Raises SwarError if there is none or one fails.
    """

    def __init__(
        self,
        model_dir: Path,
        model_name: str,
        labels: Mapping[str, int],
        poll_seconds: float,
        version: int | None = None,
    ) -> None:
        self.model_name = model_name
        self.model_dir = model_dir
        self._labels = dict(labels)
        self._poll_seconds = poll_seconds
        self._version = version
        self._available: dict[int, Servable] = {}
        self._retired: list[Servable] = []
        self._statuses: dict[int, get_model_status_pb2.ModelVersionStatus] = {}
        self._failed: dict[int, int] = {}
        """When each failed version's files last changed: it is tried again once they change."""
        self._refreshing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        complete = self._complete_versions()
        if not complete:
            raise SwarError(
                f"{self.model_dir} holds no <version>/saved_model.pb; "
                "give the folder `published` of a run that published a model"
            )
        for label, number in self._labels.items():
            if number not in complete:
                raise SwarError(
                    f"label {label} names version {number}, which {self.model_dir} does not "
                    f"hold; it has {', '.join(map(str, sorted(complete)))}"
                )
        check_path(self.model_dir / str(max(complete)))
        await self._refresh(self._labels)
        for number in self._failed:
            raise SwarError(
                f"version {number} of {self.model_dir} cannot be loaded "
                f"({self._statuses[number].status.error_message}); "
                "remove it or publish the model again"
            )
        self._polling = asyncio.create_task(self._poll())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._polling.cancel()
        await asyncio.gather(self._polling, return_exceptions=True)
        for servable in (*self._available.values(), *self._retired):
            servable.close()

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """The version that a request means, kept loaded meanwhile.

        Raises NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label.
        """
        number = self._number(spec)
        newest = max(self._available, default=0)
        servable = self._available.get(newest if number is None else number)
        if servable is None or spec.name != self.model_name:
            meant = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
            raise tf.errors.NotFoundError(None, None, f"Servable not found for request: {meant}")
        with servable.in_use():
            yield servable

    def statuses(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of the version that a request means, or of all, the newest first.

        Raises NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label.
        """
        number = self._number(spec)
        statuses = [
            status
            for version, status in sorted(self._statuses.items(), reverse=True)
            if spec.name == self.model_name and number in (None, version)
        ]
        if not statuses:
            which = "any versions" if number is None else f"version {number}"
            message = f"Could not find {which} of model {spec.name}"
            raise tf.errors.NotFoundError(None, None, message)
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=statuses)

    async def set_labels(self, labels: Mapping[str, int]) -> None:
        """Replaces the labels, after loading the versions that they name.

        Raises FAILED_PRECONDITION if one cannot be loaded; the labels stay as they were. Runs to
        its end even if the caller has gone: a version that is being loaded would stay in memory
        unused.
        """
        await asyncio.shield(self._move_labels(labels))

    async def _move_labels(self, labels: Mapping[str, int]) -> None:
        await self._refresh(labels)
        for label, number in labels.items():
            if number not in self._available:
                raise tf.errors.FailedPreconditionError(
                    None, None, f"label {label} to version {number}, which is not available"
                )
        self._labels = dict(labels)

    def _number(self, spec: model_pb2.ModelSpec) -> int | None:
        match spec.WhichOneof("version_choice"):
            case "version":
                return int(spec.version.value)
            case "version_label":
                if spec.name != self.model_name or spec.version_label not in self._labels:
                    raise invalid(f"Unrecognized servable version label: {spec.version_label}")
                return self._labels[spec.version_label]
            case _:
                return None

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self._refresh({})
            except OSError as error:
                log.warning("cannot read %s: %s", self.model_dir, error)

    async def _refresh(self, new_labels: Mapping[str, int]) -> None:
        """Loads what is new in the folder, and unloads what is neither wanted nor used."""
        async with self._refreshing:
            complete = await asyncio.to_thread(self._complete_versions)
            if not complete:
                return  # as a folder that is being replaced looks for a moment
            wanted = {max(complete), *self._labels.values(), *new_labels.values()} & complete
            leaving = {servable.version for servable in self._retired}
            for number in sorted(wanted - self._available.keys() - leaving):
                changed = await asyncio.to_thread(_last_changed_ns, self.model_dir / str(number))
                if self._failed.get(number) != changed:
                    await self._load(number, changed)
            if max(complete) in self._available:
                for number in self._available.keys() - wanted:
                    self._retired.append(self._available.pop(number))
                    self._set_status(number, State.UNLOADING)
            for servable in [retired for retired in self._retired if not retired.uses]:
                self._retired.remove(servable)
                self._set_status(servable.version, State.END)
                await asyncio.to_thread(servable.close)

    async def _load(self, number: int, changed_ns: int) -> None:
        self._set_status(number, State.LOADING)
        self._failed.pop(number, None)
        try:
            folder = self.model_dir / str(number)
            servable, requests = await asyncio.to_thread(_load_warm, number, folder)
        except Exception as error:
            failure = as_op_error(error)
            self._failed[number] = changed_ns
            self._set_status(number, State.END, failure.error_code, failure.message)
        else:
            self._available[number] = servable
            self._set_status(number, State.AVAILABLE)
            log.info("version %d ran %d warm-up requests", number, requests)

    def _set_status(self, number: int, state: Any, error_code: int = 0, message: str = "") -> None:
        """Notes the state of a version."""
        self._statuses[number] = get_model_status_pb2.ModelVersionStatus(
            version=number, state=state, status={"error_code": error_code, "error_message": message}
        )
        log.info("version %d: %s %s", number, State.Name(state), message)

    def _complete_versions(self) -> set[int]:
        """The versions that may be served."""
        complete = _complete_versions(self.model_dir)
        return complete if self._version is None else complete & {self._version}


def _load_warm(number: int, folder: Path) -> tuple[Servable, int]:
    check_digests(folder)
    servable = Servable(number, folder)
    try:
        return servable, servable.warm_up()
    except BaseException:
        servable.close()
        raise


def _complete_versions(model_dir: Path) -> set[int]:
    """The versions that have a graph."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed meanwhile
        return {int(folder.name) for folder in published_folders(model_dir)}
    return set()


def _last_changed_ns(folder: Path) -> int:
    """When a file of a version last appeared or changed; it may still be being copied."""
    try:
        # Not the modification time, which `cp -p` and `rsync -t` preserve.
        return max((file.lstat().st_ctime_ns for file in folder.rglob("*")), default=0)
    except FileNotFoundError:  # removed meanwhile
        return 0
