"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from engine.errors import OutputError, RegardError

RESULT_MARKERS = ("metrics.json", "case.json", "phantom.json")
"""A folder that holds one of these was written by Regard, so `force` may replace it."""

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.EFBIG: "the file grew beyond what this file system or user may write",
    errno.EACCES: "no permission to write there; choose another place",
    errno.EPERM: "no permission to write there; choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.ENOENT: "the folder does not exist; create it or choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.EISDIR: "a folder of that name exists; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; move it to `path` at the end, remove it after an error.

    The temporary name keeps the suffixes, which decide the format. Raises OutputError for whatever the disk refuses.
    """
    target = Path(path)
    temporary = _sibling(target)
    try:
        with output_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            _refuse_unwritable(target.parent)
            yield temporary
            os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path, force: bool = False, markers: tuple[str, ...] = RESULT_MARKERS) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill; it becomes `path` at the end, and is removed after an error.

    A folder that exists and is not empty is replaced only with `force`, and only where it holds one of `markers`;
    otherwise OutputError, before any work is done.
    """
    target = Path(path)
    refuse_occupied(target, force, markers)
    temporary = _sibling(target)
    try:
        with output_errors():
            temporary.mkdir(parents=True)
            yield temporary
            _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_occupied(path: str | Path, force: bool = False, markers: tuple[str, ...] = RESULT_MARKERS) -> None:
    """Raise OutputError where `whole_folder` would: call it before a long computation whose result goes there."""
    target = Path(path)
    with output_errors():
        if not target.exists():
            _refuse_unwritable(next(parent for parent in target.absolute().parents if parent.exists()))
            return
        _refuse_unwritable(target.absolute().parent)
        names = {entry.name for entry in target.iterdir()}
    if not names:
        return
    if not force:
        raise OutputError(
            "Expected a new or empty folder; this one holds files already. Choose another, or use --force."
        )
    if not names & set(markers):
        raise OutputError(
            "The folder holds files that are not Regard's and is not replaced even by force; choose another."
        )


@contextmanager
def output_errors() -> Iterator[None]:
    """Turn what the disk or SimpleITK says while writing into an OutputError of one line."""
    try:
        yield
    except RegardError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, (error.strerror or "the disk refused the file").lower())
        raise OutputError(f"The result cannot be written: {reason}.") from error


def reserve(path: Path, byte_count: int) -> None:
    """Raise an OSError where `byte_count` bytes find no place at `path`; nothing is left there.

    To be asked before a library writes: ITK prints pages when the disk is full, and HDF5 brings the process down.
    """
    try:
        with path.open("wb") as file:
            _allocate(file.fileno(), path, byte_count)
    finally:
        path.unlink(missing_ok=True)


def _allocate(descriptor: int, path: Path, byte_count: int) -> None:
    if sys.platform == "linux":
        try:
            os.posix_fallocate(descriptor, 0, max(1, byte_count))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
        else:
            return
    if shutil.disk_usage(path.parent).free < byte_count:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _refuse_unwritable(folder: Path) -> None:
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _sibling(target: Path) -> Path:
    target = target.absolute()
    return target.with_name(f".{uuid4().hex[:8]}-{target.name}")


def _swap(temporary: Path, target: Path) -> None:
    """Put `temporary` in the place of `target`; what was there comes back if that fails."""
    if not target.exists():
        os.replace(temporary, target)
        return
    aside = _sibling(target)
    os.replace(target, aside)
    try:
        os.replace(temporary, target)
    except OSError:
        os.replace(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
