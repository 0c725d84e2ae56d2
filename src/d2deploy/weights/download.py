"""Fetch a checkpoint that the user named by address, once.

Files lie in a cache folder under the host and path of their address. Beside `x.pkl` there is `x.pkl.sha256`, its
checksum, and while a download is on `x.pkl.part`, `x.pkl.part.json` (what the server called that version) and
`x.pkl.lock`. Names such as model_final_f10217.pkl are not compared with the content: we know no statement of what
their six digits are.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from d2deploy.artifact import sha256 as checksum
from d2deploy.errors import OutputError, WeightsError
from d2deploy.weights.catalog import is_address, resolve
from d2deploy.weights.lock import locked
from d2deploy.weights.transfer import Transfer

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where the server tells

_QUERY = "?matching_heuristics=True"


def fetch(url: str, *, cache: Path | None = None, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """The file behind `url` (http, https, detectron2:// or catalog://), from the cache or downloaded into it.

    `cache` None: the folder that D2DEPLOY_CACHE names, else the platform's cache folder. `sha256`: what the content
    must be. A download that was cut is taken up where it stopped, when the server still has the same version. Of two
    processes one downloads and the other waits. Raises WeightsError: no such address, no connection, a wrong size or
    checksum; OutputError where the cache cannot be written.
    """
    address = resolve(url)
    target = (cache_folder() if cache is None else cache) / _place(address)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(_beside(target, ".lock")):
            if not _is_good(target, sha256):
                _download(address, target, sha256, progress)
    except OSError as error:
        raise OutputError(
            f"{error.filename or target} cannot be written: {error.strerror or error}. "
            f"Set D2DEPLOY_CACHE to a folder with room that is yours."
        ) from error
    return target


def fetched(weights: str, *, progress: Progress | None = None) -> str:
    """`weights` for read_checkpoint: an address becomes the file behind it, anything else stays as it is.

    A query `?matching_heuristics=True` is not the server's: it stays at the end. Raises as fetch does.
    """
    if not is_address(weights):
        return weights
    address, query = weights.removesuffix(_QUERY), _QUERY if weights.endswith(_QUERY) else ""
    return f"{fetch(address, progress=progress)}{query}"


def cache_folder() -> Path:
    """D2DEPLOY_CACHE, else d2deploy's folder where this platform keeps what can be fetched again."""
    if chosen := os.environ.get("D2DEPLOY_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "d2deploy" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "d2deploy"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "d2deploy"


def _place(address: str) -> Path:
    """Where in the cache: host and path, each part fit for a file name; a query makes another file."""
    parts = urlsplit(address)
    raw = [unquote(name) for name in parts.path.split("/")]
    names = [quote(name, safe="-_.+@,=") for name in raw if name not in ("", ".", "..")]
    if not names:
        raise WeightsError(f"{address} has no path. Give the address of a file.")
    if parts.query:
        names[-1] = f"{hashlib.sha256(parts.query.encode()).hexdigest()[:8]}-{names[-1]}"
    return Path(quote(parts.netloc.rpartition("@")[2], safe="-_."), *names)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _is_good(target: Path, wanted: str | None) -> bool:
    """Whether the cached file is there and unchanged. One that the user put there by hand is taken as it is."""
    if not target.is_file():
        return False
    note = _beside(target, ".sha256")
    found = checksum(target)
    noted = note.read_text(encoding="ascii", errors="replace").strip() if note.is_file() else found
    if found != noted or (wanted and found != wanted.lower()):
        return False
    note.write_text(f"{found}\n", encoding="ascii")
    return True


def _download(address: str, target: Path, wanted: str | None, progress: Progress | None) -> None:
    part = _beside(target, ".part")
    transfer = Transfer(address=address, part=part, target=target, progress=progress)
    transfer.run()
    found = checksum(part)
    if wanted and found != wanted.lower():
        transfer.forget()
        raise WeightsError(
            f"{address} has the checksum {found}, not {wanted.lower()}: the file on the server was changed or damaged. "
            f"Nothing was kept. Check where the checksum is from."
        )
    _beside(target, ".sha256").write_text(f"{found}\n", encoding="ascii")
    os.replace(part, target)
    transfer.forget()
