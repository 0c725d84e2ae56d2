"""The other end of worker.py: a process in the old Python that runs the nets."""

import json
import math
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from d2deploy.errors import ArtifactError, D2DeployError, MissingExtra

WORKER = Path(__file__).with_name("worker.py")
TIMEOUT = "D2DEPLOY_CAFFE2_TIMEOUT"
_SECONDS = 600.0


class WorkerDied(D2DeployError):
    """The process that runs Caffe2 has ended or does not answer."""


class Worker:
    """A Caffe2 process. It ends with `close`, or when this process ends, however that comes about."""

    def __init__(self, python: Path) -> None:
        self._python = python
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed in close()
        self._process = subprocess.Popen(
            [str(python), "-I", str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._seconds = float(os.environ.get(TIMEOUT) or _SECONDS)
        try:
            hello, _ = self._answer("start")
        except BaseException:
            self.close()
            raise
        if "error" in hello:
            self.close()
            raise MissingExtra(f"{hello['error']}. Make that environment again: d2deploy caffe2-runtime")
        self.operators: frozenset[str] = frozenset(hello["operators"])

    def load(self, init: Path, net: Path, inputs: Sequence[str]) -> str:
        """Load the nets; the main one's name. Raises ArtifactError when Caffe2 refuses them."""
        answer, _ = self._ask({"do": "load", "init": str(init), "net": str(net), "inputs": list(inputs)}, {})
        if "error" in answer:
            raise ArtifactError(f"{net} cannot be loaded by Caffe2: {_first(answer['error'])}. Export again.")
        name: str = answer["name"]
        return name

    def run(self, name: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Run the net `name`. Raises ArtifactError when an operator fails, WorkerDied."""
        answer, arrays = self._ask({"do": "run", "name": name, "outputs": list(outputs)}, inputs)
        if "error" in answer:
            raise ArtifactError(f"Caffe2 failed while it ran the net: {_first(answer['error'])}")
        return arrays

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with suppress(BrokenPipeError):  # what was not sent yet never will be
                stream.close()  # type: ignore[union-attr]

    def _ask(
        self, request: dict[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        listed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        request["arrays"] = [{"name": n, "dtype": a.dtype.name, "shape": list(a.shape)} for n, a in listed.items()]
        stream = self._process.stdin
        assert stream is not None
        with self._deadline(request["do"]):
            try:
                stream.write(json.dumps(request).encode() + b"\n")
                for array in listed.values():
                    stream.write(array.tobytes())
                stream.flush()
            except (BrokenPipeError, ValueError):
                raise self._died(request["do"]) from None
        return self._answer(request["do"])

    def _answer(self, what: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        stream = self._process.stdout
        assert stream is not None
        with self._deadline(what):
            line = stream.readline()
            if not line:
                raise self._died(what)
            answer: dict[str, Any] = json.loads(line)
            return answer, {item["name"]: self._array(stream, item, what) for item in answer.get("arrays", [])}

    def _array(self, stream: Any, item: dict[str, Any], what: str) -> np.ndarray:
        dtype = np.dtype(item["dtype"])
        size = math.prod(item["shape"]) * dtype.itemsize
        data = stream.read(size)
        if len(data) < size:
            raise self._died(what)
        return np.frombuffer(data, dtype).reshape(item["shape"])

    @contextmanager
    def _deadline(self, what: str) -> Iterator[None]:
        """Kill the process when it takes too long: then what waits for it sees the end of its answers."""
        self._late = False

        def kill() -> None:
            self._late = True
            self._process.kill()

        timer = threading.Timer(self._seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _died(self, what: str) -> WorkerDied:
        doing = {"start": "starting", "load": "loading the nets", "run": "running the net"}[what]
        if self._late:
            return WorkerDied(
                f"The Caffe2 process did not answer within {self._seconds:g} seconds while {doing}. "
                f"Set {TIMEOUT} to more seconds if it only needs longer."
            )
        code = self._process.wait()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-3:]
        return WorkerDied(
            f"The Caffe2 process ({self._python}) ended with {code} while {doing}. {' '.join(last)} "
            f"Try again; a smaller image if memory ran out."
        )


def _first(message: str) -> str:
    """The first line of the runtime's message, without its stack of C++ calls."""
    return next((line.strip() for line in message.splitlines() if line.strip()), message)[:500]
