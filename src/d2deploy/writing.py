"""Writing whole files and folders or nothing of them: beside their place first, then under their name."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from d2deploy.errors import OutputError


def check_free(target: Path, *, overwrite: bool = False) -> None:
    """Raises OutputError when folder `target` is in use and not to be overwritten."""
    with refusals_named(target):
        in_use = target.is_file() or (target.is_dir() and any(target.iterdir()) and not overwrite)
    if in_use:
        raise OutputError(f"{target} is not empty. Choose another --output, or add --overwrite to replace it.")


@contextmanager
def writing_to(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new empty folder beside `target` that becomes `target` when the block ends well, and vanishes when not.

    Raises OutputError when `target` is in use and not to be overwritten, or when the disk refuses.
    """
    check_free(target, overwrite=overwrite)
    with refusals_named(target):
        place = target.resolve()  # a link stays one
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    before = beside.with_name(f"{beside.name}-before")
    try:
        with refusals_named(target):
            yield beside
            beside.chmod(0o777 & ~_umask())
            check_free(target, overwrite=overwrite)  # again: another export may have been faster
            if place.exists():
                place.rename(before)
            beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none of it. Raises OutputError when the disk refuses."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or none of it. Raises OutputError when the disk refuses."""
    with refusals_named(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)  # a device or a pipe, such as /dev/null: to replace it would be to destroy it
            return
        path = path.resolve()  # a link stays one
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to write into an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        reason, advice = error.strerror or str(error), "Choose another place"
        if isinstance(error, FileExistsError | NotADirectoryError):
            reason = "a file is where a folder must be"
        if error.errno in _FULL:
            advice = "Free some space, or choose another place"
        raise OutputError(f"{path} cannot be written: {reason}. {advice}.") from error


_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def check_writable(path: Path) -> None:
    """Raises OutputError when file `path` could not be written. To be asked before long work, not after it."""
    with refusals_named(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not parent.is_dir():
            raise NotADirectoryError
        if not os.access(parent, os.W_OK) and not path.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
