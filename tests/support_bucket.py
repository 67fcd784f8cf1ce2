"""A remote filesystem for Beam, in memory."""

import io
from collections.abc import Iterator

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem


class BucketFileSystem(FileSystem):
    """An object store in a dict: no folders, only names with slashes."""

    objects: dict[str, bytes] = {}

    @classmethod
    def scheme(cls) -> str:
        return "testbucket"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        raise NotImplementedError

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        return (self.metadata(path) for path in self.objects if path.startswith(dir_or_prefix))

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> io.BytesIO:
        raise NotImplementedError

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> io.BytesIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        if path not in self.objects:
            raise BeamIOError("no such object", {path: None})
        return io.BytesIO(self.objects[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        return path in self.objects

    def size(self, path: str) -> int:
        return len(self.objects[path])

    def last_updated(self, path: str) -> float:
        return 7.0

    def checksum(self, path: str) -> str:
        raise NotImplementedError

    def metadata(self, path: str) -> FileMetadata:
        if path not in self.objects:
            raise BeamIOError("no such object", {path: None})
        return FileMetadata(path, len(self.objects[path]), 7.0)

    def delete(self, paths: list[str]) -> None:
        raise NotImplementedError
