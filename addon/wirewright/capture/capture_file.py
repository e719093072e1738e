"""The file of a capture on the disk, and the files that SQLite keeps beside it.

SQLite trusts the files beside a database by their names. It replays a `-wal` and rolls back a `-journal`, and
then it deletes another file that the `-journal` names (https://www.sqlite.org/fileformat2.html#the_rollback_journal).
So every name is taken, or checked, before SQLite opens the capture. SQLite looks for a `-journal` again when
a capture leaves WAL mode, so an empty file has that name until the database is closed.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wirewright.capture.errors import CaptureError

__tracebackhide__ = True  # pytest shows the line that calls

JOURNAL, WAL, SHM = "-journal", "-wal", "-shm"
"""Endings of the names of SQLite's files. Wirewright never leaves data in a `-journal`."""


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """A capture that may be written: the file that had this path when it was opened."""

    path: Path
    is_new: bool
    """True if this program made the file."""
    _identity: tuple[int, int]
    _made: tuple[tuple[Path, tuple[int, int]], ...]
    """The files that this program made, and which they are."""

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Make the file if there is none, and take the names of SQLite's files beside it.

        Nobody else can then put a file there, unless the folder lets every user replace files. Raises
        CaptureError if one of them is not a file of this user alone, or has data that SQLite must not see.
        The files are not opened if they exist: closing a file gives up all locks of this process on it,
        SQLite's too (https://www.sqlite.org/howtocorrupt.html, 2.2).
        """
        is_new = _create_empty(path)
        made = [path] if is_new else []
        try:
            check_owned(path)
            for ending in (JOURNAL, WAL, SHM):
                beside = _companion(path, ending)
                if _create_empty(beside):
                    made.append(beside)
                    _copy_owner(beside, path.lstat())
            _check_companions(path, for_writing=True)
        except BaseException:
            for each in made:
                each.unlink(missing_ok=True)
            raise
        return cls(path, is_new, _identity_of(path), tuple((each, _identity_of(each)) for each in made))

    @property
    def is_in_place(self) -> bool:
        """True while the path still leads to this file, and not to another one or to none."""
        try:
            return _identity_of(self.path) == self._identity
        except OSError:
            return False

    def check_again(self) -> None:
        """Raise CaptureError if another program has replaced one of the files since they were claimed."""
        if not self.is_in_place:
            raise CaptureError(f"{self.path}: another program has replaced it just now")
        check_owned(self.path)
        _check_companions(self.path, for_writing=True)

    def make_private(self) -> None:
        """Take all rights on the files from other users. SQLite gives new files the mode of the capture."""
        for each in (self.path, *(_companion(self.path, ending) for ending in (JOURNAL, WAL, SHM))):
            with suppress(FileNotFoundError):
                each.chmod(0o600)

    @property
    def has_safe_journal(self) -> bool:
        """True if SQLite may look for a `-journal`: it is an empty file of this user alone."""
        try:
            journal = _companion(self.path, JOURNAL)
            check_owned(journal)
            return not journal.lstat().st_size
        except (CaptureError, OSError):
            return False

    def take_journal(self) -> bool:
        """Make the empty `-journal` again if it was deleted. False if another file has its name, or none can
        be made: SQLite must not look for a journal then."""
        with suppress(CaptureError, OSError):
            journal = _companion(self.path, JOURNAL)
            if _create_empty(journal):
                _copy_owner(journal, self.path.lstat())
        return self.has_safe_journal

    def free_journal(self) -> None:
        """Delete the empty `-journal`, right after the database was closed."""
        if self.has_safe_journal:
            with suppress(OSError):
                _companion(self.path, JOURNAL).unlink()

    def release(self) -> None:
        """Delete the files that `claim` made, right after the database was closed."""
        self._release(each for each, _ in self._made)

    def release_journal(self) -> None:
        """Delete the `-journal` if `claim` made it: it may be another recorder's."""
        self._release([_companion(self.path, JOURNAL)])

    def _release(self, names: Iterable[Path]) -> None:
        made = dict(self._made)
        for each in names:
            with suppress(OSError):
                if _identity_of(each) == made.get(each):
                    each.unlink()

    def delete(self) -> None:
        """Delete a capture that was closed, and SQLite's files beside it.

        Nothing happens if the path leads to another file now. A file system may give the inode of a deleted
        file to the next one that is made, so the content has to be a capture's, too.
        """
        with suppress(OSError):
            if self.is_in_place and begins_as_capture(self.path):
                for each in (self.path, *(_companion(self.path, ending) for ending in (WAL, SHM))):
                    each.unlink(missing_ok=True)


def check_owned(path: Path) -> None:
    """Raise CaptureError if a file is not a regular one of this user alone, which no other user can write."""
    found = path.lstat()
    _check_kind(path, found)
    if found.st_uid not in _trusted_user_ids(found):
        raise CaptureError(f"{path}: it belongs to another user: choose another name or another folder")
    if found.st_mode & stat.S_IWOTH and not _lets_all_replace(path.parent):
        what = "every user of this machine can write it"
        raise CaptureError(f"{path}: {what}: run `chmod 600` on it if you trust its content")


def check_readable(path: Path) -> None:
    """Raise CaptureError if a capture cannot be opened to read it without a risk for other files."""
    if not path.is_file():
        raise CaptureError(f"{path}: {'it is a folder' if path.is_dir() else 'there is no such file'}")
    _check_companions(path.resolve(), for_writing=False)  # SQLite follows symbolic links, too


def begins_as_capture(path: Path) -> bool:
    """True if a file has the header of a capture. One that has just been begun may not have it yet."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header.startswith(b"SQLite format 3\0") and header.endswith(b"WWC1")  # the application id


def is_free(path: Path) -> bool:
    """True if a new capture can have this path: nothing is there, or an empty file, and nothing beside it."""
    for each in (path, *(_companion(path, ending) for ending in (JOURNAL, WAL, SHM))):
        with suppress(OSError):
            found = each.lstat()
            if found.st_size or not stat.S_ISREG(found.st_mode):
                return False
    return True


def _check_companions(path: Path, *, for_writing: bool) -> None:
    """Check SQLite's files beside a capture."""
    owner = path.stat().st_uid
    for ending in (JOURNAL, WAL, SHM):
        beside = _companion(path, ending)
        try:
            found = beside.lstat()
        except FileNotFoundError:
            continue
        if for_writing:
            check_owned(beside)
        else:
            _check_kind(beside, found)
            if found.st_uid != owner and found.st_uid not in _trusted_user_ids(found):
                raise CaptureError(f"{beside}: it belongs to another user than {path.name}: move it away")
        is_alone = ending == JOURNAL or (for_writing and not path.stat().st_size)
        if is_alone and found.st_size:
            what = f"Wirewright did not write it, and it would change {path.name}"
            raise CaptureError(f"{beside}: {what}: move it away")


def _check_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise CaptureError(f"{path}: it is a symbolic link: name the file itself")
    if stat.S_ISDIR(found.st_mode):
        raise CaptureError(f"{path}: it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise CaptureError(f"{path}: it is not a regular file")
    if found.st_nlink > 1:
        raise CaptureError(f"{path}: it has another name, too (a hard link): make a copy")


def _lets_all_replace(folder: Path) -> bool:
    """True if every user can replace the files in a folder, as on file systems without modes: the mode of a
    file then says nothing."""
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _trusted_user_ids(found: os.stat_result) -> tuple[int, ...]:
    """The ids of this user, and of the user who called `sudo`."""
    if not hasattr(os, "geteuid"):
        return (found.st_uid,)  # Windows has none
    called_by = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    return (os.geteuid(), int(called_by)) if called_by.isdecimal() else (os.geteuid(),)


def _copy_owner(path: Path, like: os.stat_result) -> None:
    """Let a file that was made with `sudo` have the owner of the capture, as SQLite does."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 != like.st_uid:
        os.chown(path, like.st_uid, like.st_gid, follow_symlinks=False)


def _create_empty(path: Path) -> bool:
    """Make an empty file that only its owner can read; False if the name is taken."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise CaptureError(f"{path}: the folder {path.parent} does not exist") from None
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from None
    return True


def _companion(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _identity_of(path: Path) -> tuple[int, int]:
    """The device and the inode: which file this is, whatever its name."""
    found = path.lstat()
    return found.st_dev, found.st_ino
