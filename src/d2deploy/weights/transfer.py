"""One file over http into a file, in as many tries as a broken line needs.

A part is continued only when the server can prove that it is of the same version: RFC 9110, 13.1.5 (If-Range), 14.2
(Range) and 14.4 (Content-Range).
"""

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from d2deploy.errors import WeightsError

TIMEOUT = 30  # seconds without a byte
TRIES = 4  # of which each must bring something
CHUNK = 1 << 20


class _Cut(Exception):
    """The line broke before all bytes were there."""


class _SafeRedirect(HTTPRedirectHandler):
    """Follows redirections, but not from https to http."""

    def redirect_request(self, req: Request, *answer: Any) -> Any:
        body, code, _, headers, address = answer
        if req.type == "https" and not address.startswith("https:"):
            raise HTTPError(req.full_url, code, "leads away from https", headers, body)
        return super().redirect_request(req, *answer)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The download of `address` into `part`, which is to become `target`."""

    address: str
    part: Path
    target: Path
    progress: Callable[[int, int | None], None] | None = None

    def run(self) -> None:
        """All bytes into `part`. Raises WeightsError when that fails; what came so far stays for the next time."""
        for left in reversed(range(TRIES)):
            before = self._size()
            try:
                self._try()
            except _Cut as cut:
                if left and self._size() > before:
                    continue
                raise WeightsError(
                    f"{self.address} broke off: {cut}. What came is kept: run the same again to go on. {self._by_hand}"
                ) from None
            return

    def forget(self) -> None:
        """Remove `part` and what is known of it."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _try(self) -> None:
        begin = self._begin()
        headers = {"User-Agent": "d2deploy", "Accept-Encoding": "identity", **begin}
        try:
            response = _opener().open(Request(self.address, headers=headers), timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            if begin and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.forget()
                return self._try()
            raise self._refused(error) from None
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error) from None
        with response:
            self._receive(response, response.headers)

    def _begin(self) -> dict[str, str]:
        """The headers that ask for the rest of the part; none where there is no part, or its version is unknown."""
        size = self._size()
        try:
            note = json.loads(self._note.read_text(encoding="utf-8")) if size else {}
        except (OSError, ValueError, RecursionError):
            note = {}
        version = note.get("version") if isinstance(note, dict) and note.get("address") == self.address else None
        return {"Range": f"bytes={size}-", "If-Range": version} if isinstance(version, str) and version else {}

    def _receive(self, response: Any, headers: Mapping[str, str]) -> None:
        if headers.get("Content-Type", "").startswith("text/html"):
            raise WeightsError(f"{self.address} answered with a web page, not a file. {self._by_hand}")
        done, total = self._extent(response.status, headers)
        self._note.write_text(json.dumps({"address": self.address, "version": _version(headers)}), encoding="utf-8")
        with self.part.open("ab" if done else "wb") as file:
            self._tell(done, total)
            for chunk in _chunks(response):
                file.write(chunk)
                done += len(chunk)
                self._tell(done, total)
        if total is not None and done < total:
            raise _Cut(f"{done} of {total} bytes came")
        if total is not None and done > total:
            self.forget()
            raise WeightsError(f"{self.address} sent {done} bytes where it said {total}. Nothing was kept; try again.")

    def _extent(self, status: int, headers: Mapping[str, str]) -> tuple[int, int | None]:
        """Bytes that are there already, and in all."""
        if status == HTTPStatus.PARTIAL_CONTENT:
            size = self._size()
            if (given := re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))) and (
                int(given[1]) == size
            ):
                return size, int(given[2])
            self.forget()
            raise WeightsError(f"{self.address} sent another part than was asked for. Nothing was kept; try again.")
        length = headers.get("Content-Length", "")
        return 0, int(length) if length.isascii() and length.isdigit() else None

    def _tell(self, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(done, total)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    @property
    def _note(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    @property
    def _by_hand(self) -> str:
        return f"Or fetch it by hand and put it at {self.target}"

    def _refused(self, error: HTTPError) -> WeightsError:
        advice = "It leads elsewhere, where d2deploy does not follow." if error.code < 400 else "Try again later."
        advice = "Check the address." if error.code in (404, 410) else advice
        reason = re.sub(r"\s+", " ", str(error.reason))[:200]
        return WeightsError(f"{self.address} was refused: {error.code} {reason}. {advice} {self._by_hand}")

    def _unreachable(self, error: Exception) -> WeightsError:
        reason = getattr(error, "reason", None) or error
        return WeightsError(
            f"{self.address} cannot be reached: {str(reason) or type(reason).__name__}. "
            f"Check the network and its proxy (https_proxy). {self._by_hand}"
        )


def _chunks(response: Any) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except http.client.IncompleteRead as error:
        yield error.partial
        raise _Cut("the last bytes did not come") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(str(error) or type(error).__name__) from None


def _version(headers: Mapping[str, str]) -> str:
    """What names this version of the file exactly: a strong ETag, else the date of its last change."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _opener() -> OpenerDirector:
    """Only http and https: urllib's own opener also follows to ftp and file."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        _SafeRedirect(),
    ):
        opener.add_handler(handler)
    return opener
