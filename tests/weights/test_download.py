"""Downloads from a local server that behaves well or badly."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from d2deploy.errors import OutputError, WeightsError
from d2deploy.weights import transfer
from d2deploy.weights.download import cache_folder, fetch, fetched

CONTENT = bytes(range(256)) * 40_000  # ten megabytes: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What is served, how, and what was asked for."""

    content: bytes = CONTENT
    tag: str = '"v1"'
    has_range: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes of each answer, until the list is used up
    claims: int | None = None  # Content-Length
    status: int = 200
    kind: str = "application/octet-stream"
    redirect: str = ""
    crooked_range: bool = False
    is_chunked: bool = False
    pause: float = 0.0
    asked: list[str] = field(default_factory=list)  # ranges, "" for all
    url: str = ""

    def address(self, path: str = "a/model_final.pkl") -> str:
        return f"{self.url}/{path}"


class Handler(BaseHTTPRequestHandler):
    server_of: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server_of
        self.close_connection = True
        if server.redirect and "moved" not in self.path:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range", "")
        server.asked.append(asked)
        time.sleep(server.pause)
        if server.status != 200:
            self.send_error(server.status)
            return
        begin = self._begin(asked)
        if begin is not None and begin >= len(server.content):
            self.send_error(416)
            return
        self._send(begin)

    def _begin(self, asked: str) -> int | None:
        server = self.server_of
        if not asked or not server.has_range or self.headers.get("If-Range") != server.tag:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, begin: int | None) -> None:
        server = self.server_of
        body = server.content[begin or 0 :]
        self.send_response(200 if begin is None else 206)
        self.send_header("Content-Type", server.kind)
        if server.tag:
            self.send_header("ETag", server.tag)
        if begin is not None:
            start = begin + 1 if server.crooked_range else begin
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(server.claims or len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # who only wanted the head is gone
            self._write(body)

    def _write(self, body: bytes) -> None:
        server = self.server_of
        body = body[: server.cut_after.pop(0)] if server.cut_after else body
        if server.is_chunked:
            self.wfile.write(b"%x\r\n" % len(body) + body + b"\r\n" + (b"" if server.pause else b"0\r\n\r\n"))
        else:
            self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("OneHandler", (Handler,), {"server_of": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path) -> None:
    """No proxy, no cache and no host but the test's own."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("D2DEPLOY_CACHE", str(tmp_path / "default"))
    monkeypatch.setenv("D2DEPLOY_ZOO_URL", "http://127.0.0.1:9/nothing")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_once_then_from_the_cache(server, tmp_path):
    told: list[tuple[int, int | None]] = []
    file = fetch(server.address(), cache=tmp_path, progress=lambda done, total: told.append((done, total)))
    assert file.read_bytes() == CONTENT
    assert file == tmp_path / server.url.removeprefix("http://").replace(":", "%3A") / "a" / "model_final.pkl"
    assert files(tmp_path) == {"model_final.pkl", "model_final.pkl.sha256", "model_final.pkl.lock"}
    assert (file.parent / "model_final.pkl.sha256").read_text() == f"{SHA256}\n"
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told) and len(told) > 5
    assert fetch(server.address(), cache=tmp_path, sha256=SHA256.upper()) == file
    assert server.asked == [""]


def test_the_zoo_and_the_default_cache(server, monkeypatch, tmp_path):
    monkeypatch.setenv("D2DEPLOY_ZOO_URL", f"{server.url}/detectron2")
    first = fetch("detectron2://COCO-Detection/x/model_final.pkl")
    assert first.is_relative_to(tmp_path / "default")
    assert first.parts[-4:] == ("detectron2", "COCO-Detection", "x", "model_final.pkl")
    assert fetched("detectron2://COCO-Detection/x/model_final.pkl?matching_heuristics=True") == (
        f"{first}?matching_heuristics=True"
    )
    assert fetched("some/file.pth?x=1") == "some/file.pth?x=1"
    assert len(server.asked) == 1


@pytest.mark.parametrize("cuts", [[3_000_000], [3_000_000, 2_000_000, 1_000_000]])
def test_a_cut_line_is_taken_up_where_it_broke(server, cuts, tmp_path):
    server.cut_after = list(cuts)
    assert fetch(server.address(), cache=tmp_path).read_bytes() == CONTENT
    begins = [sum(cuts[: i + 1]) for i in range(len(cuts))]
    assert server.asked == ["", *(f"bytes={begin}-" for begin in begins)]


def test_a_line_that_keeps_breaking_is_taken_up_by_the_next_call(server, tmp_path):
    server.cut_after = [3_000_000, *[0] * 10]
    with pytest.raises(WeightsError, match=r"broke off: 3000000 of 10240000 bytes came.*run the same again"):
        fetch(server.address(), cache=tmp_path)
    assert "model_final.pkl.part" in files(tmp_path)
    server.cut_after = []
    server.asked = []
    told: list[int] = []
    file = fetch(server.address(), cache=tmp_path, progress=lambda done, total: told.append(done))
    assert file.read_bytes() == CONTENT
    assert server.asked == ["bytes=3000000-"]
    assert told[0] == 3_000_000
    assert files(tmp_path) == {"model_final.pkl", "model_final.pkl.sha256", "model_final.pkl.lock"}


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"has_range": False}, "bytes=3000000-"),
        ({"tag": '"v2"', "content": CONTENT[::-1]}, "bytes=3000000-"),
        ({"content": CONTENT[:3_000_000]}, "bytes=3000000-"),
    ],
    ids=["no_range", "another_version", "shorter"],
)
def test_a_part_that_cannot_be_continued_is_begun_anew(server, change, asked, tmp_path):
    server.cut_after = [3_000_000, *[0] * 10]
    with pytest.raises(WeightsError, match="broke off"):
        fetch(server.address(), cache=tmp_path)
    server.cut_after, server.asked = [], []
    for name, value in change.items():
        setattr(server, name, value)
    assert fetch(server.address(), cache=tmp_path).read_bytes() == server.content
    assert server.asked[0] == asked


@pytest.mark.parametrize("tag", ["", 'W/"v1"'])
def test_without_a_strong_version_nothing_is_continued(server, tag, tmp_path):
    server.tag, server.cut_after = tag, [3_000_000]
    assert fetch(server.address(), cache=tmp_path).read_bytes() == CONTENT
    assert server.asked == ["", ""]


def test_a_part_of_another_address_or_with_a_broken_note_is_begun_anew(server, tmp_path):
    for note in ('{"address": "http://other/x", "version": "\\"v1\\""}', "{", "[]", '{"version": 3}'):
        file = tmp_path / note[:3].encode().hex() / "x.pkl"
        file.parent.mkdir()
        part = file.with_name("x.pkl.part")
        part.write_bytes(b"junk")
        part.with_name("x.pkl.part.json").write_text(note)
        one = transfer.Transfer(address=server.address(), part=part, target=file)
        one.run()
        assert part.read_bytes() == CONTENT


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "not_found": ({"status": 404}, r"was refused: 404 .*Check the address\. Or fetch it by hand and put it at .*pkl"),
    "forbidden": ({"status": 403}, "was refused: 403"),
    "broken": ({"status": 500}, "was refused: 500 .*Try again later"),
    "too_short": ({"claims": len(CONTENT) + 7}, "10240000 of 10240007 bytes came"),
    "web_page": ({"kind": "text/html; charset=utf-8"}, "answered with a web page"),
    "crooked_range": ({"cut_after": [3_000_000], "crooked_range": True}, "sent another part than was asked for"),
    "endless_redirect": ({"redirect": "/a/model_final.pkl"}, "was refused: 302"),
    "redirect_to_file": ({"redirect": "file:///etc/passwd"}, "was refused: 302.*d2deploy does not follow"),
    "redirect_to_ftp": ({"redirect": "ftp://127.0.0.1:9/x"}, "was refused: 302.*d2deploy does not follow"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_fetched_says_so_and_leaves_no_file(server, case, tmp_path):
    change, says = REFUSALS[case]
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(WeightsError, match=says) as refused:
        fetch(server.address(), cache=tmp_path)
    assert server.address() in str(refused.value)
    assert files(tmp_path) <= {"model_final.pkl.lock", "model_final.pkl.part", "model_final.pkl.part.json"}


def test_a_redirection_is_followed_under_the_first_name(server, tmp_path):
    server.redirect = f"{server.url}/moved/elsewhere.bin"
    file = fetch(server.address(), cache=tmp_path)
    assert file.name == "model_final.pkl" and file.read_bytes() == CONTENT


@pytest.mark.parametrize(("there", "is_followed"), [("https://b/y", True), ("http://b/y", False)])
def test_no_redirection_away_from_https(there, is_followed):
    redirect = transfer._SafeRedirect()
    answer = (io.BytesIO(), 302, "Found", Message(), there)
    if is_followed:
        assert redirect.redirect_request(Request("https://a/x"), *answer).full_url == there
    else:
        with pytest.raises(HTTPError, match="leads away from https") as refused:
            redirect.redirect_request(Request("https://a/x"), *answer)
        refused.value.close()
    assert redirect.redirect_request(Request("http://a/x"), *answer).full_url == there


def test_chunks_without_a_length(server, tmp_path):
    server.is_chunked = True
    told: list[tuple[int, int | None]] = []
    file = fetch(server.address(), cache=tmp_path, progress=lambda *told_now: told.append(told_now))
    assert file.read_bytes() == CONTENT
    assert {total for _, total in told} == {None}


def test_chunks_that_stop_early_are_no_file(server, tmp_path):
    server.is_chunked, server.pause, server.has_range = True, 0.01, False  # with a pause the last chunk is left out
    with pytest.raises(WeightsError, match="broke off"):
        fetch(server.address(), cache=tmp_path)
    assert "model_final.pkl" not in files(tmp_path)


def test_a_wrong_checksum_is_refused_and_forgotten(server, tmp_path):
    with pytest.raises(WeightsError, match=rf"has the checksum {SHA256}, not {'0' * 64}"):
        fetch(server.address(), cache=tmp_path, sha256="0" * 64)
    assert files(tmp_path) == {"model_final.pkl.lock"}


def test_a_cached_file_that_changed_is_fetched_again(server, tmp_path):
    file = fetch(server.address(), cache=tmp_path)
    file.write_bytes(CONTENT[:1000])
    assert fetch(server.address(), cache=tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_file_put_there_by_hand_needs_no_server(server, tmp_path):
    server.status = 500
    with pytest.raises(WeightsError) as refused:
        fetch(server.address(), cache=tmp_path)
    place = Path(str(refused.value).rpartition("put it at ")[2])
    assert place.is_relative_to(tmp_path)
    place.write_bytes(b"by hand")
    assert fetch(server.address(), cache=tmp_path).read_bytes() == b"by hand"
    assert len(server.asked) == 1


@pytest.mark.parametrize("host", ["closed", "unknown"])
def test_offline(host, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/m.pkl" if host == "closed" else "http://no-such-host.invalid/m.pkl"
    with pytest.raises(WeightsError, match=r"cannot be reached: .*Or fetch it by hand and put it at .*m\.pkl") as error:
        fetch(address, cache=tmp_path)
    assert address in str(error.value)


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    server.pause = 1.0
    with pytest.raises(WeightsError, match="timed out"):
        fetch(server.address(), cache=tmp_path)


def test_two_processes_fetch_once(server, tmp_path):
    server.pause = 0.5
    code = (
        "import sys; from d2deploy.weights.download import fetch; from pathlib import Path; print(fetch(sys.argv[1]))"
    )
    environment = {**os.environ, "D2DEPLOY_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", code, server.address()]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    places = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(places) == 1 and Path(places.pop()).read_bytes() == CONTENT
    assert server.asked == [""]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="D2DEPLOY_CACHE"):
        fetch(server.address(), cache=tmp_path / "new")


def test_a_cache_that_is_a_file(server, tmp_path):
    (tmp_path / "cache").write_text("x")
    with pytest.raises(OutputError, match=r"cache.* cannot be written.*D2DEPLOY_CACHE"):
        fetch(server.address(), cache=tmp_path / "cache")


BAD_ADDRESSES = (
    *("ftp://host/x.pkl", "file:///etc/passwd", "x.pkl", "http://", "http:///x", "http://host:99999/x", "", "s3://b/x"),
    *("http://host/a b", "http://host/a\nb", "http://[::1/x", "http://host"),
)


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_only_http_is_fetched(address, tmp_path):
    with pytest.raises(WeightsError, match=r"cannot be fetched|has no path"):
        fetch(address, cache=tmp_path)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    "path", ["../../evil.pkl", "%2e%2e/%2e%2e/evil.pkl", "a/..%2f..%2fevil.pkl", "./././evil.pkl", "//a//evil.pkl"]
)
def test_no_address_leads_out_of_the_cache(server, path, tmp_path):
    file = fetch(server.address(path), cache=tmp_path / "cache")
    assert file.resolve().is_relative_to((tmp_path / "cache").resolve())
    assert ".." not in file.parts


def test_another_query_is_another_file(server, tmp_path):
    places = {fetch(server.address(f"x.pkl{query}"), cache=tmp_path) for query in ("", "?v=1", "?v=2")}
    assert len(places) == 3 and all(place.suffix == ".pkl" for place in places)


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_cache_folder_is_the_platforms(platform, monkeypatch, tmp_path):
    monkeypatch.delenv("D2DEPLOY_CACHE")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder().is_relative_to(tmp_path)
    assert "d2deploy" in cache_folder().parts


def test_the_note_of_a_part_is_plain(server, tmp_path):
    server.cut_after = [3_000_000, *[0] * 10]
    with pytest.raises(WeightsError):
        fetch(server.address(), cache=tmp_path)
    note = next(tmp_path.rglob("*.part.json"))
    assert json.loads(note.read_text()) == {"address": server.address(), "version": '"v1"'}
