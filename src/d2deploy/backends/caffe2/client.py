"""The other end of worker.py: a process in the old Python that runs the nets.

Arrays go through pipes. An image of 800 x 1216 there and 100 masks of 80 classes back, 37 MB, take 0.03 s (0.1 s on a
busy machine), while the net of such an image, a Mask R-CNN R50-FPN, takes some 12 s of a processor.
"""

import json
import os
import re
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from d2deploy.errors import ArtifactError, D2DeployError, MissingExtra

WORKER = Path(__file__).with_name("worker.py")
TIMEOUT = "D2DEPLOY_CAFFE2_TIMEOUT"
_SECONDS = 600.0
_DOING = {"start": "starting", "load": "loading the nets", "run": "running the net", "shapes": "running the net"}
_ADVICE = {
    "start": "Set D2DEPLOY_CAFFE2_PYTHON to a Python with Caffe2, or make one: d2deploy caffe2-runtime",
    "load": "Export again, or copy the folder again, if the files may be damaged.",
}


class WorkerDied(D2DeployError):
    """The process that runs Caffe2 has ended or does not answer."""


class Worker:
    """A Caffe2 process. It ends with `close`, with this object, or with this process, however that comes about.

    Threads may share it: they wait for one another.
    """

    def __init__(self, python: Path) -> None:
        self._python = python
        self._seconds = _timeout()
        self._lock = threading.Lock()
        self._late = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed in _end
        try:
            self._process = subprocess.Popen(
                [str(python), "-I", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=_surroundings(),
            )
        except OSError as error:
            self._log.close()
            raise MissingExtra(f"{python} does not start: {error.strerror}. {_ADVICE['start']}") from error
        self._end = weakref.finalize(self, _end, self._process, self._log)
        try:
            with self._deadline("start"):
                hello, _ = self._answer("start")
            if "error" in hello:
                raise MissingExtra(f"{hello['error']}. {_ADVICE['start']}")
        except BaseException:
            self.close()
            raise
        self.operators: frozenset[str] = frozenset(hello["operators"])

    def load(self, init: Path, net: Path, inputs: Sequence[str]) -> str:
        """Load the nets; the main one's name. Raises ArtifactError when Caffe2 refuses them."""
        answer, _ = self._ask({"do": "load", "init": str(init), "net": str(net), "inputs": list(inputs)}, {})
        if "error" in answer:
            file, why = answer.get("file", net), _first(answer["error"])
            raise ArtifactError(f"{file} cannot be loaded by Caffe2: {why}. Export again, or copy the folder again.")
        name: str = answer["name"]
        return name

    def run(self, name: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Run the net `name`. Raises ArtifactError when an operator fails, WorkerDied."""
        return self._run({"do": "run", "name": name, "outputs": list(outputs)}, inputs)[1]

    def shapes(self, name: str, inputs: Mapping[str, np.ndarray], blobs: Sequence[str]) -> dict[str, list[int]]:
        """Run the net `name`, and give the shapes of `blobs` in place of what they hold. Raises as `run`."""
        answer, _ = self._run({"do": "shapes", "name": name, "blobs": list(blobs)}, inputs)
        shapes: dict[str, list[int]] = answer["shapes"]
        return shapes

    def close(self) -> None:
        """End the process."""
        self._end()

    def _run(
        self, request: dict[str, Any], inputs: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        answer, arrays = self._ask(request, inputs)
        if "error" in answer:
            raise ArtifactError(
                f"Caffe2 failed while it ran the net: {_first(answer['error'])}. Give a smaller image if memory ran "
                f"out; otherwise export again."
            )
        return answer, arrays

    def _ask(
        self, request: dict[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        listed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        request["arrays"] = [{"name": n, "dtype": a.dtype.name, "shape": list(a.shape)} for n, a in listed.items()]
        stream = self._process.stdin
        assert stream is not None
        with self._lock, self._deadline(request["do"]):
            try:
                stream.write(json.dumps(request).encode() + b"\n")
                for array in listed.values():
                    stream.write(array.data if array.size else b"")
                stream.flush()
            except (BrokenPipeError, ValueError):
                raise self._died(request["do"]) from None
            return self._answer(request["do"])

    def _answer(self, what: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        stream = self._process.stdout
        assert stream is not None
        line = stream.readline()
        if not line:
            raise self._died(what)
        try:
            answer: dict[str, Any] = json.loads(line)
            listed = answer["arrays"]
        except (ValueError, KeyError, TypeError):
            raise WorkerDied(
                f"{self._python} did not answer as Caffe2's process does, but {line[:80]!r}. {_ADVICE['start']}"
            ) from None
        return answer, {item["name"]: self._array(stream, item, what) for item in listed}

    def _array(self, stream: Any, item: dict[str, Any], what: str) -> np.ndarray:
        array = np.empty(item["shape"], item["dtype"])
        if array.size and stream.readinto(array.reshape(-1).view(np.uint8)) < array.nbytes:
            raise self._died(what)
        return array

    @contextmanager
    def _deadline(self, what: str) -> Iterator[None]:
        """Kill the process when it takes too long: then what waits for it sees the end of its answers.

        So, too, after an interruption: what it answers to this request must not be taken for the answer to the next.
        """

        def kill() -> None:
            self._late = True
            self._process.kill()

        timer = threading.Timer(self._seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except BaseException:
            self._process.kill()
            raise
        finally:
            timer.cancel()

    def _died(self, what: str) -> WorkerDied:
        if self._late:
            return WorkerDied(
                f"The Caffe2 process did not answer within {self._seconds:g} seconds while {_DOING[what]}. "
                f"Set {TIMEOUT} to more seconds if it only needs longer."
            )
        if self._log.closed:
            return WorkerDied("The Caffe2 process was closed. Open the artifact again.")
        code = self._process.wait()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-3:]
        return WorkerDied(
            f"The Caffe2 process ({self._python}) ended with {code} while {_DOING[what]}. {' '.join(last)} "
            f"{_ADVICE.get(what, 'Open the artifact again; give a smaller image if memory ran out.')}"
        )


def _end(process: "subprocess.Popen[bytes]", log: Any) -> None:
    """Not a method: what ends with an object must not hold that object."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        with suppress(BrokenPipeError):  # what was not sent yet never will be
            stream.close()  # type: ignore[union-attr]


def _surroundings() -> dict[str, str]:
    """The environment; on an AMD processor that has AVX2, the runtime's MKL (2020.0) is told to use it.

    Of itself it does so on Intel's only, and matrix products take a multiple of the time (benchmarks/README.md).
    """
    with suppress(OSError):
        processor = Path("/proc/cpuinfo").read_text()
        if "AuthenticAMD" in processor and " avx2 " in processor:
            return {"MKL_DEBUG_CPU_TYPE": "5", **os.environ}
    return dict(os.environ)


def _timeout() -> float:
    """Seconds that an answer may take. Raises D2DeployError."""
    text = os.environ.get(TIMEOUT) or str(_SECONDS)
    with suppress(ValueError):
        if (seconds := float(text)) > 0:
            return min(seconds, threading.TIMEOUT_MAX)
    raise D2DeployError(f"{TIMEOUT} is {text!r}; it must be a number of seconds above 0. Unset it for {_SECONDS:g}.")


def _first(message: str) -> str:
    """What the runtime says: its first line and the operator that it is about, without its stack of C++ calls."""
    line = next((line.strip() for line in message.splitlines() if line.strip()), message)
    text = line.partition("(Error from operator")[0].strip(" .")[:400]
    found = re.search(r'\(Error from operator:.*?(?: name: "([^"]*)")? type: "(\w+)"', message, flags=re.DOTALL)
    return f"{text}, in {found[2]} {found[1] or ''}".rstrip() if found else text
