"""The process that runs Caffe2: what is said when it cannot start, dies, hangs. A script stands in for the runtime."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from d2deploy.backends.caffe2 import client
from d2deploy.backends.caffe2.client import Worker, WorkerDied
from d2deploy.backends.caffe2.runtime import make_runtime
from d2deploy.errors import ArtifactError, MissingExtra, OutputError

# A worker that answers as worker.py does; `run` is what it does when asked to run.
STAND_IN = """
import json, os, sys, time
def send(answer, data=b""):
    answer.setdefault("arrays", [])
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\\n" + data)
    sys.stdout.buffer.flush()
send({{"ready": True, "python": "3.8", "operators": ["Relu"]}})
while True:
    line = sys.stdin.buffer.readline()
    if not line:
        break
    request = json.loads(line)
    {run}
"""
ECHO = """
    given = request["arrays"][0]
    size = 4
    for side in given["shape"]: size *= side
    send({"arrays": [{"name": "y", "dtype": "float32", "shape": given["shape"]}]}, sys.stdin.buffer.read(size))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Function: what it does when asked -> a started worker."""
    started = []

    def start(run: str) -> Worker:
        script = tmp_path / "worker.py"
        script.write_text(STAND_IN.format(run=run.strip("\n").lstrip()))
        monkeypatch.setattr(client, "WORKER", script)
        started.append(Worker(Path(sys.executable)))
        return started[-1]

    yield start
    for worker in started:
        worker.close()


@pytest.mark.parametrize("shape", [(2, 3), (0, 4), (1,), (700, 800, 3)])
def test_arrays_there_and_back(shape, stand_in):
    array = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    made = stand_in(ECHO).run("net", {"x": array}, ["y"])
    assert made["y"].shape == shape and (made["y"] == array).all()


@pytest.mark.parametrize(
    ("run", "message"),
    {
        "os._exit(3)": "ended with 3 while running the net",
        "os.kill(os.getpid(), 9)": "ended with -9 while running the net",
        "print('no memory left', file=sys.stderr); sys.exit(1)": "no memory left",
        "send({'arrays': [{'name': 'y', 'dtype': 'float32', 'shape': [9]}]}, b'123'); os._exit(0)": "ended with 0",
    }.items(),
)
def test_a_worker_that_dies(run, message, stand_in):
    worker = stand_in(run)
    with pytest.raises(WorkerDied, match=message):
        worker.run("net", {"x": np.zeros(3, np.float32)}, ["y"])
    with pytest.raises(WorkerDied):
        worker.run("net", {"x": np.zeros(1 << 20, np.float32)}, ["y"])


def test_a_worker_that_hangs(stand_in, monkeypatch):
    monkeypatch.setenv(client.TIMEOUT, "1.5")
    worker = stand_in("time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(WorkerDied, match=r"did not answer within 1\.5 seconds"):
        worker.run("net", {"x": np.zeros(3, np.float32)}, ["y"])
    assert time.monotonic() - start < 20


def test_a_worker_that_refuses(stand_in):
    worker = stand_in("send({'error': 'RuntimeError: [enforce fail] no such blob\\n  stack'})")
    with pytest.raises(ArtifactError, match=r"Caffe2 failed while it ran the net: RuntimeError: .enforce fail"):
        worker.run("net", {}, [])


def test_a_user_s_own_setting_of_mkl_is_kept(monkeypatch):
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "4")
    assert client._surroundings()["MKL_DEBUG_CPU_TYPE"] == "4"
    monkeypatch.delenv("MKL_DEBUG_CPU_TYPE")
    assert client._surroundings() in (dict(os.environ), {**os.environ, "MKL_DEBUG_CPU_TYPE": "5"})


def test_a_python_without_caffe2():
    with pytest.raises(MissingExtra, match="caffe2 cannot be imported by"):
        Worker(Path(sys.executable))


def test_the_worker_ends_with_its_parent(tmp_path, is_alive):
    """Even when the parent is killed while the worker is at work."""
    script = tmp_path / "worker.py"
    source = Path(client.__file__).with_name("worker.py").read_text()
    # The worker's own watch, and then a run that does not end.
    script.write_text(
        source.replace("    try:\n        import numpy", "    time.sleep(600)\n    try:\n        import numpy")
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            f"p = subprocess.Popen([sys.executable, {str(script)!r}], stdin=subprocess.PIPE)\n"
            "print(p.pid, flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(1)
    assert is_alive(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not is_alive(worker):
            break
        time.sleep(0.1)
    assert not is_alive(worker)


def test_a_runtime_cannot_be_made(tmp_path):
    with pytest.raises(OutputError, match="There is no Python python0"):
        make_runtime("python0", tmp_path / "env")
    with pytest.raises(OutputError, match=r"torch 1\.8\.1 wants 3\.6, 3\.7, 3\.8, 3\.9"):
        make_runtime(sys.executable, tmp_path / "env")
    assert not (tmp_path / "env").exists()
