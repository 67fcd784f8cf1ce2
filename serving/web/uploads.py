"""Keeps recordings given to the page in a private folder, within a quota, for a short time."""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from gradio_client.utils import strip_invalid_filename_characters
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from components.errors import SwarError
from components.file_lock import locked
from serving import defaults

UPLOAD: Final = "/gradio_api/upload"
"""The page's path that recordings are uploaded to."""
MAX_FILE_BYTES: Final = defaults.MAX_RECORDING_BYTES
QUOTA_BYTES: Final = 2**30
"""Of all recordings in the folder and those that are arriving, together."""
KEPT_SECONDS: Final = 3600.0
_SWEEP_SECONDS: Final = 60.0
_ARRIVAL_SECONDS: Final = 600.0
_FORM_BYTES: Final = 2**16  # a form's size beyond its file
_PREFIX: Final = "swar-page-"
_LOCK: Final = ".lock"


class Uploads:
    """The folder of one page, mode 0700.

    Attributes:
        folder: its absolute path, without links.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arriving_bytes = 0
        self._lock = threading.Lock()

    def has(self, path: str) -> bool:
        """Whether a path lies below the folder, whether or not it exists."""
        return os.path.normpath(path) == path and Path(path).is_relative_to(self.folder)

    async def receive(self, request: Request) -> Response:
        """Stores the one file of a form, and answers with its path in a list, as gradio does.

        A refused file leaves nothing behind: until it is complete, it has no name on the disk.

        Raises:
            HTTPException: 400 for another form, 408 after ten minutes, 411 without a length, 413
                for a file over MAX_FILE_BYTES, 507 if the folder would exceed QUOTA_BYTES or
                the disk has no room.
        """
        declared = request.headers.get("content-length", "")
        # Given both, servers follow the encoding: the declared length would bound nothing.
        if not declared.isdecimal() or "transfer-encoding" in request.headers:
            raise HTTPException(411, "an upload says how long it is")
        if int(declared) > MAX_FILE_BYTES + _FORM_BYTES:
            raise HTTPException(413, f"a recording has at most {MAX_FILE_BYTES // 2**20} MiB")
        with self._room_for(int(declared)):
            try:
                async with (
                    asyncio.timeout(_ARRIVAL_SECONDS),  # slow uploads take room from others
                    request.form(max_files=1, max_fields=0) as form,
                ):
                    path = await self._stored(form)
            except TimeoutError:
                raise HTTPException(408, "the recording took too long to arrive") from None
            except OSError as error:
                reason = error.strerror or "no room"
                raise HTTPException(507, f"the recording cannot be kept: {reason}") from None
        return JSONResponse([str(path)])

    async def _stored(self, form: FormData) -> Path:
        given = form.get("files")
        if not isinstance(given, UploadFile):
            raise HTTPException(400, "an upload is a form with one file")
        return await run_in_threadpool(self._store, given.file, given.filename or "")

    def remove_old(self, older_than_seconds: float) -> None:
        """Removes recordings older than so many seconds."""
        before = time.time() - older_than_seconds
        for entry in self._recordings():
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < before:
                    shutil.rmtree(entry, ignore_errors=True)

    @contextlib.contextmanager
    def _room_for(self, arriving_bytes: int) -> Iterator[None]:
        with self._lock:
            stored_bytes = sum(_size(each) for each in self._recordings())
            if stored_bytes + self._arriving_bytes + arriving_bytes > QUOTA_BYTES:
                raise HTTPException(507, "too many recordings lie here: try again in an hour")
            self._arriving_bytes += arriving_bytes
        try:
            yield
        finally:
            with self._lock:
                self._arriving_bytes -= arriving_bytes

    def _recordings(self) -> list[Path]:
        return [each for each in self.folder.iterdir() if each.name != _LOCK]

    def _store(self, source: IO[bytes], name: str) -> Path:
        """Stores it in a folder of random name: its address cannot be guessed."""
        name = strip_invalid_filename_characters(os.path.basename(name))
        if not name.strip("."):
            name = "recording"
        place = self.folder / secrets.token_urlsafe(24)
        place.mkdir(mode=0o700)
        try:
            with open(
                os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as to:
                shutil.copyfileobj(source, to)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return place / name


async def progress(_request: Request) -> Response:
    """Tells the page, which asks for an upload's progress, that it need not wait."""
    return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")


@contextlib.contextmanager
def opened_uploads() -> Iterator[Uploads]:
    """A page's folder, removed at the end; folders of pages that were killed are removed now.

    Until then, this process's libraries write their temporary files into it too.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with _new_folder() as folder:
        stopped = threading.Event()
        uploads = Uploads(folder)

        def sweep() -> None:
            while not stopped.wait(_SWEEP_SECONDS):
                with contextlib.suppress(OSError):  # such as no free descriptor: try again
                    uploads.remove_old(KEPT_SECONDS)

        sweeper = threading.Thread(target=sweep, name="uploads", daemon=True)
        sweeper.start()
        temporary, tempfile.tempdir = tempfile.tempdir, str(folder)
        gradios = os.environ.get("GRADIO_TEMP_DIR")
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # gradio has no other setting for it
        try:
            yield uploads
        finally:
            stopped.set()
            tempfile.tempdir = temporary
            del os.environ["GRADIO_TEMP_DIR"]
            if gradios is not None:
                os.environ["GRADIO_TEMP_DIR"] = gradios
            sweeper.join()
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _new_folder() -> Iterator[Path]:
    """A folder that stays locked meanwhile."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
        # Another page may take the new folder for an abandoned one before the lock is held.
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        with locked(descriptor):
            if (folder / _LOCK).exists():
                yield folder
                return


def _remove_abandoned(parent: Path) -> None:
    """Removes this user's folders of pages that no longer run."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, SwarError):
            status = folder.lstat()
            if folder.is_symlink() or status.st_uid != os.getuid():
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with locked(descriptor, held_message="its page runs"):
                shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        if folder.is_dir():
            return sum(file.stat().st_size for file in folder.iterdir())
        return folder.stat().st_size
    return 0
