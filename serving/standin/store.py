"""Which versions of the model are loaded, and which one a request means.

The latest version of the folder is served, and those that labels name. A new version is
loaded and warmed up beside the old one, then takes over; the old one finishes its requests.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from components.errors import SwarError
from components.published_model import check_path
from serving.standin.servable import Servable
from serving.standin.status import ServingError, invalid, not_found

log = logging.getLogger("swar.serving")

State = get_model_status_pb2.ModelVersionStatus.State


@dataclass
class _Version:
    number: int
    state: Any = State.START
    servable: Servable | None = None
    failure: ServingError | None = None
    failed_mtime_ns: int = 0
    """Which file failed: the same one is not tried again."""


class ModelStore:
    """The versions of one model. An async context manager, to be used on one event loop.

    Args:
        model_dir: folder of `<version>/saved_model.pb`.
        model_name: what requests call the model.
        labels: label to version; these versions are kept loaded beside the latest.
        poll_seconds: how often the folder is looked at.

    Entering it loads the versions. Raises SwarError where there is none, or one fails.
    """

    def __init__(
        self, model_dir: Path, model_name: str, labels: Mapping[str, int], poll_seconds: float
    ) -> None:
        self.model_name = model_name
        self._model_dir = model_dir
        self._labels = dict(labels)
        self._poll_seconds = poll_seconds
        self._versions: dict[int, _Version] = {}
        self._refreshing = asyncio.Lock()
        self._loader = ThreadPoolExecutor(1, "swar-load")
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        found = _found(self._model_dir)
        if not found:
            raise SwarError(
                f"{self._model_dir} holds no <version>/saved_model.pb; "
                "give the folder `published` of a run that published a model"
            )
        for label, number in self._labels.items():
            if number not in found:
                raise SwarError(
                    f"label {label} names version {number}, which {self._model_dir} does not "
                    f"hold; it has {', '.join(map(str, sorted(found)))}"
                )
        check_path(self._model_dir / str(max(found)))
        await self.refresh()
        for version in self._versions.values():
            if version.failure:
                raise SwarError(
                    f"version {version.number} of {self._model_dir} cannot be loaded "
                    f"({version.failure.message}); remove it or publish the model again"
                )
        self._start(self._poll())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for version in self._versions.values():
            if version.servable is not None:
                version.servable.close()
        self._loader.shutdown()

    async def refresh(self) -> None:
        """Looks at the folder, loads what is new and retires what is no longer wanted."""
        async with self._refreshing:
            await self._refresh(set(self._labels.values()))

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """The version that a request means, kept loaded meanwhile.

        Raises NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label.
        """
        with self._servable(spec).in_use() as servable:
            yield servable

    def statuses(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of the version that a request means, or of all, the newest first.

        Raises NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label.
        """
        number = self._number(spec)
        known = self._versions if spec.name == self.model_name else {}
        if number is None and not known:
            raise not_found(f"Could not find any versions of model {spec.name}")
        if number is not None and number not in known:
            raise not_found(f"Could not find version {number} of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for asked in sorted(known, reverse=True) if number is None else [number]:
            version = known[asked]
            status = response.model_version_status.add(version=asked, state=version.state)
            status.status.SetInParent()
            if version.failure is not None:
                status.status.error_code = version.failure.code.value[0]
                status.status.error_message = version.failure.message
        return response

    async def set_labels(self, labels: Mapping[str, int]) -> None:
        """Replaces the labels, after loading the versions that they name.

        Raises FAILED_PRECONDITION where one cannot be loaded; the labels stay as they were.
        """
        async with self._refreshing:
            await self._refresh({*self._labels.values(), *labels.values()})
            for label, number in labels.items():
                version = self._versions.get(number)
                if version is None or version.state != State.AVAILABLE:
                    raise ServingError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label {label} to version {number} of model "
                        f"{self.model_name}, which is not currently available for inference",
                    )
            self._labels = dict(labels)

    def _servable(self, spec: model_pb2.ModelSpec) -> Servable:
        number = self._number(spec)
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        available = {
            version.number: version.servable
            for version in self._versions.values()
            if version.state == State.AVAILABLE
        }
        servable = available.get(max(available, default=0) if number is None else number)
        if spec.name != self.model_name or servable is None:
            raise not_found(f"Servable not found for request: {asked}")
        return servable

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
                await self.refresh()
            except OSError as error:
                log.warning("cannot read %s: %s", self._model_dir, error)

    async def _refresh(self, labelled: set[int]) -> None:
        found = await asyncio.to_thread(_found, self._model_dir)
        if not found:
            return  # as a folder that is being replaced looks for a moment
        wanted = {max(found), *labelled} & found.keys()
        for number in sorted(wanted):
            version = self._versions.setdefault(number, _Version(number))
            failed_before = version.failure and version.failed_mtime_ns == found[number]
            if version.servable is None and not failed_before:
                await self._load(version, found[number])
        if self._versions[max(found)].state != State.AVAILABLE:
            return
        for number, version in self._versions.items():
            if number not in wanted and version.state == State.AVAILABLE:
                version.state = State.UNLOADING
                self._start(self._unload(version))

    async def _load(self, version: _Version, mtime_ns: int) -> None:
        version.state, version.failure = State.LOADING, None
        folder = self._model_dir / str(version.number)
        log.info("loading version %d", version.number)
        try:
            version.servable, requests = await asyncio.get_running_loop().run_in_executor(
                self._loader, _warm, version.number, folder
            )
        except Exception as error:
            version.state, version.failed_mtime_ns = State.END, mtime_ns
            version.failure = ServingError.of(error)
            log.error("version %d cannot be loaded: %s", version.number, version.failure.message)
            return
        version.state = State.AVAILABLE
        log.info("version %d is available, after %d warm-up requests", version.number, requests)

    async def _unload(self, version: _Version) -> None:
        servable = version.servable
        assert servable is not None
        await servable.idle()
        version.servable, version.state = None, State.END
        await asyncio.get_running_loop().run_in_executor(self._loader, servable.close)
        log.info("version %d is unloaded", version.number)

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _warm(number: int, folder: Path) -> tuple[Servable, int]:
    servable = Servable(number, folder)
    try:
        return servable, servable.warm_up()
    except BaseException:
        servable.close()
        raise


def _found(model_dir: Path) -> dict[int, int]:
    """Complete versions, and when their graph was last written, in ns."""
    found = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for folder in model_dir.iterdir():
            if folder.name.isascii() and folder.name.isdigit() and folder.name[0] != "0":
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    found[int(folder.name)] = (folder / "saved_model.pb").stat().st_mtime_ns
    return found
