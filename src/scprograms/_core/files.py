"""Files that are either whole or not there: everything is written beside its place first, then moved into it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("scprograms")

_LOCK = ".scprograms.lock"
_STAGE = ".scprograms-unfinished-"


class FolderInUseError(RuntimeError):
    """Another process is writing into the same folder."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; when the block ends well, what is there takes the place of ``path`` in one step.

    The path yielded lies in the same folder and has the same suffix. An error, an interrupt or a full disk leaves an
    older file at ``path`` as it was, and nothing else behind; a killed process leaves a hidden ``.part`` file.
    """
    path = Path(path)
    check_folder(path)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        flush_to_disk(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise unless the folder that a file is to lie in exists."""
    folder = Path(path).parent
    if not folder.is_dir():
        msg = f"{str(path)!r} cannot be written: the folder {str(folder)!r} does not exist. Make it first."
        raise FileNotFoundError(msg)


def flush_to_disk(path: Path) -> None:
    """Wait until a file is on disk: a rename may get there before the content does."""
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())


@contextlib.contextmanager
def staged_folder(folder: str | os.PathLike[str], *, replaces: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty folder to write to; when the block ends well, its files take their places below ``folder``.

    Until then ``folder`` stays as it was: an error or an interrupt removes what was written, and what a killed process
    left is removed by the next one. Files of ``folder`` that are not written again stay, except those that match a
    pattern of ``replaces``, which would be taken for results of this run. One process at a time.

    Raises
    ------
    FolderInUseError
        Another process is in such a block for the same folder.
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    done = False
    try:  # from here on a signal may raise at any place
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            for left in folder.glob(f"{_STAGE}*"):
                shutil.rmtree(left, ignore_errors=True)
            stage = folder / f"{_STAGE}{uuid.uuid4().hex}"
            try:
                stage.mkdir()
                yield stage
                _move_into(stage, folder, replaces)
                done = True
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    finally:
        if not done:
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()


def _move_into(stage: Path, folder: Path, replaces: Iterable[str]) -> None:
    files = sorted(path for path in stage.rglob("*") if path.is_file())
    targets = [folder / file.relative_to(stage) for file in files]
    for file, target in zip(files, targets, strict=True):
        if target.is_dir():
            msg = f"{target} is a folder, but a file of that name is to be written: move it away."
            raise IsADirectoryError(errno.EISDIR, msg)
        flush_to_disk(file)
        target.parent.mkdir(parents=True, exist_ok=True)
    for file, target in zip(files, targets, strict=True):
        file.replace(target)
    for pattern in replaces:
        for old in set(folder.glob(pattern)).difference(targets):
            old.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends."""
    if fcntl is None:
        yield
        return
    path = folder / _LOCK
    while True:
        handle = path.open("a")
        try:
            _acquire(handle, folder)
            if path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                break  # else its last holder removed it between our opening and locking it
        except BaseException:
            handle.close()
            raise
        handle.close()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        handle.close()


def _acquire(handle: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            msg = f"Another run is writing into {str(folder)!r}: wait for it, or choose another folder."
            raise FolderInUseError(msg) from error
        # Some network file systems have no locks.
        logger.warning("%s cannot be locked (%s): take care that no other run writes into it.", folder, error)
