"""The file that an import reads: plain, compressed, or in a zip archive with the files beside it."""

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from wirewright.capture.errors import CaptureError

SMALLEST_LIMIT = 256 * 1024 * 1024
LIMIT_RATIO = 200
"""A compressed file may inflate to LIMIT_RATIO times its size, and to SMALLEST_LIMIT bytes in any case."""
SMALLEST_MEMBER_LIMIT = 128 * 1024 * 1024
"""The same for each file of a zip archive, which may inflate to LIMIT_RATIO times its size as well."""

_PIECE = 64 * 1024
_ZIP = b"PK\3\4"
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that `zipfile` unpacks in pieces. It inflates all that it has read at once by any other."""
_UNPACKING_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    RuntimeError,  # an encrypted zip
    NotImplementedError,  # a compression that Python does not have
)


class Budget:
    """The number of bytes that a source may inflate to."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self._path = path
        self._limit = limit
        self._spent = 0

    def spend(self, size: int) -> None:
        """Raises CaptureError above the limit."""
        self._spent += size
        if self._limit is not None and self._spent > self._limit:
            raise CaptureError(
                f"{self._path}: it inflates to more than {self._limit // 2**20:,} MiB, "
                "and is not read further; if that is right, unpack it first"
            )


class Inflating(io.RawIOBase):
    """Inflates a zlib or gzip stream (RFC 1950, RFC 1952) while it is read; gzip may have several members."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._begin()

    def _begin(self) -> None:
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            packed = self._inflater.unconsumed_tail
            if self._inflater.eof:
                packed = self._inflater.unused_data or self._file.read(_PIECE)
                if not packed.strip(b"\0"):  # padding after the last member
                    return 0
                self._begin()
            packed = packed or self._file.read(_PIECE)
            if not packed:
                raise EOFError("its end is missing")
            inflated = self._inflater.decompress(packed, len(buffer))
            if inflated:
                buffer[: len(inflated)] = inflated
                return len(inflated)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Counted(io.RawIOBase):
    """A file whose bytes are spent from budgets, and whose errors are CaptureErrors.

    With `failures` an error is appended there, and the file ends. A parser that reads megabytes at once would
    otherwise lose the bytes before the error.
    """

    def __init__(
        self,
        file: IO[bytes] | io.RawIOBase,
        path: Path,
        budgets: Sequence[Budget],
        failures: list[CaptureError] | None = None,
    ) -> None:
        super().__init__()
        self._file = file
        self._path = path
        self._budgets = budgets
        self._failures = failures

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._failures:
            return 0
        try:
            read = self._read(len(buffer))
        except CaptureError as error:
            if self._failures is None:
                raise
            self._failures.append(error)
            return 0
        buffer[: len(read)] = read
        return len(read)

    def _read(self, size: int) -> bytes:
        try:
            read = self._file.read(size) or b""
        except _UNPACKING_ERRORS as error:
            raise _explained(self._path, error) from None
        for budget in self._budgets:
            budget.spend(len(read))
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


class ImportSource:
    """A file on the disk, which may be a zip archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None, packed: bytes) -> None:
        size = path.stat().st_size
        self.path = path
        self.archive = archive
        self._present = set() if archive is None else set(archive.namelist())
        self._is_deflated = packed.startswith(b"\x1f\x8b") or _is_zlib(packed)
        is_packed = archive is not None or self._is_deflated
        self._failures: list[CaptureError] = []
        self._read: set[object] = set()
        """Attached files that were opened: the messages of one are those of one socket."""
        self._budget = Budget(path, max(SMALLEST_LIMIT, LIMIT_RATIO * size) if is_packed else None)
        """For all files of the source."""

    @property
    def failure(self) -> str | None:
        """Why the file could not be read or inflated to its end; None if it could, or has not been yet."""
        return self._failures[0].message if self._failures else None

    @property
    def latest_ns(self) -> int:
        """When the file was written: no recording in it is newer."""
        return max(1, self.path.stat().st_mtime_ns)

    def names(self, suffix: str) -> list[str]:
        """The files of a zip archive whose name ends so. Not the ones that macOS puts beside each file."""
        return [
            name
            for name in (self.archive.namelist() if self.archive is not None else ())
            if name.lower().endswith(suffix) and not name.startswith("__MACOSX/")
        ]

    def open(self, name: str | None = None) -> io.BufferedReader:
        """The file, or the one of that name in the zip archive, inflated. It ends at a `failure`."""
        file, budgets = self._opened(name)
        return self._counted(file, self.path, budgets, self._failures)

    def _opened(self, name: str | None) -> tuple[IO[bytes] | io.RawIOBase, list[Budget]]:
        try:
            if name is not None and self.archive is not None:
                member = self.archive.getinfo(name)
                if member.compress_type not in _ZIP_METHODS:
                    raise CaptureError(
                        f"{name}: it is not packed by deflate: unpack the zip, and import that"
                    )
                limit = max(SMALLEST_MEMBER_LIMIT, LIMIT_RATIO * member.compress_size)
                return self.archive.open(name), [Budget(Path(name), limit), self._budget]
            file = self.path.open("rb")
        except _UNPACKING_ERRORS as error:
            raise _explained(self.path, error) from None
        return Inflating(file) if self._is_deflated else file, [self._budget]

    def attached(self, name: str, beside: str = "") -> IO[bytes]:
        """A file beside the source, or beside a file of the zip archive.

        Raises FileNotFoundError if there is none, and ValueError for one outside the folder or the archive,
        and for one that was opened before: a small file could fill the disk.
        Reading one that cannot be unpacked raises CaptureError.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in name or "\0" in name:
            raise ValueError("it is outside the folder of the recording")
        if self.archive is not None:
            for each in (str(PurePosixPath(beside).parent / parts), str(parts)):
                if each in self._present and self.archive.getinfo(each).file_size:
                    self._read_once(each)
                if each in self._present:
                    file, budgets = self._opened(each)
                    return self._counted(file, Path(name), budgets)
            raise FileNotFoundError(name)
        folder = self.path.resolve().parent
        found = (folder / parts).resolve()  # a link may lead out of it
        if not found.is_relative_to(folder):
            raise ValueError("it is outside the folder of the recording")
        if found.exists() and not found.is_file():
            raise ValueError("it is not a file")
        if (status := found.stat()).st_size:
            self._read_once((status.st_dev, status.st_ino))
        return self._counted(found.open("rb"), Path(name), [self._budget])

    def _read_once(self, file: object) -> None:
        """Raises ValueError at the second time."""
        if file in self._read:
            raise ValueError("another entry has its messages already")
        self._read.add(file)

    def _counted(
        self,
        file: IO[bytes] | io.RawIOBase,
        path: Path,
        budgets: Sequence[Budget],
        failures: list[CaptureError] | None = None,
    ) -> io.BufferedReader:
        return io.BufferedReader(_Counted(file, path, budgets, failures), _PIECE)


@contextmanager
def opened(path: Path) -> Iterator[ImportSource]:
    """A source to read. Raises CaptureError for one that cannot be opened or unpacked."""
    archive = None
    if not (path.is_file() or path.is_dir()) and (path.exists() or str(path) == "-"):
        raise CaptureError(f"{path}: it is not a file: save the recording in one, and import that")
    try:
        with path.open("rb") as file:
            beginning = file.read(4)
        if beginning.startswith(_ZIP):
            archive = zipfile.ZipFile(path)
        source = ImportSource(path, archive, beginning)
    except _UNPACKING_ERRORS as error:
        raise _explained(path, error) from None
    try:
        yield source
    finally:
        if archive is not None:
            archive.close()


def _explained(path: Path, error: Exception) -> CaptureError:
    if isinstance(error, OSError) and error.strerror:
        return CaptureError(f"{path}: {error.strerror}")
    return CaptureError(f"{path}: it cannot be unpacked: {error}")


def _is_zlib(beginning: bytes) -> bool:
    """True for the header of a zlib stream that is deflated (RFC 1950, 2.2)."""
    return beginning[:1] == b"\x78" and len(beginning) > 1 and int.from_bytes(beginning[:2]) % 31 == 0
