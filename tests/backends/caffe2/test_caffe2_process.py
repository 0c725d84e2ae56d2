"""The process on the old Python: what it is written in, what is said of wrong interpreters, how it ends."""

import ast
import gc
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from d2deploy.backends.caffe2 import client
from d2deploy.backends.caffe2.client import Worker, WorkerDied
from d2deploy.errors import D2DeployError

# Answers hello; then to each request, after its number times a second, with its number.
STAND_IN = """
import json, sys, time
def send(answer):
    sys.stdout.buffer.write(json.dumps({"arrays": [], **answer}).encode() + b"\\n")
    sys.stdout.buffer.flush()
send({"operators": []})
for line in sys.stdin.buffer:
    number = float(json.loads(line)["name"])
    time.sleep(number)
    send({"shapes": {"number": [number]}})
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    script = tmp_path / "worker.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(client, "WORKER", script)
    return Worker(Path(sys.executable))


def old_pythons() -> list[str]:
    """Pythons 3.6 to 3.9, where the Makefile looks for them."""
    found = [shutil.which(f"python3.{minor}") for minor in (6, 7, 8, 9)]
    found += map(str, sorted(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python")))
    runs = {python: subprocess.run([python, "-c", ""], capture_output=True) for python in filter(None, found)}
    return [python for python, run in runs.items() if run.returncode == 0]  # pyenv has names of what is not chosen


def test_the_worker_is_written_for_the_oldest_python():
    source = client.WORKER.read_text()
    ast.parse(source, feature_version=(3, 6))
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or "" for node in imports}
    ours = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert ours == {"numpy", "caffe2"}
    with pytest.raises(SyntaxError):
        ast.parse("if (x := 1): pass", feature_version=(3, 6))


def test_the_worker_starts_on_old_pythons():
    """As far as a Python without any package gets."""
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no Python 3.6 to 3.9 here")
    for python in pythons:
        done = subprocess.run([python, "-IS", client.WORKER], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        assert f"caffe2 cannot be imported by {python}" in json.loads(done.stdout)["error"], done.stderr


INTERPRETERS = {
    "does not start: Permission denied": ("hello", 0o644),
    "does not start: Exec format error": ("hello", 0o755),
    "did not answer as Caffe2's process does, but b'hello": ("#!/bin/sh\necho hello", 0o755),
    "did not answer as Caffe2's process does, but b'3": ("#!/bin/sh\necho 3", 0o755),
    "ended with 3 while starting. SyntaxError: no such thing": (
        "#!/bin/sh\necho SyntaxError: no such thing >&2\nexit 3",
        0o755,
    ),
    "ended with 0 while starting": ("#!/bin/sh", 0o755),
}


@pytest.mark.parametrize("message", INTERPRETERS)
def test_what_is_no_python_with_caffe2(message, tmp_path):
    text, mode = INTERPRETERS[message]
    python = tmp_path / "python3.8"
    python.write_text(text)
    python.chmod(mode)
    with pytest.raises(D2DeployError, match=f"{message}.*d2deploy caffe2-runtime"):
        Worker(python)


def test_an_answer_that_nobody_waited_for(stand_in, monkeypatch):
    """An interruption, by Ctrl-C in a notebook, say; what comes late must not be taken for the next answer."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        assert stand_in.shapes("0", {}, []) == {"number": [0]}
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            stand_in.shapes("1", {}, [])
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(WorkerDied, match="ended with -9"):
        stand_in.shapes("0", {}, [])


def test_a_closed_worker(stand_in):
    stand_in.close()
    stand_in.close()
    with pytest.raises(WorkerDied, match=r"was closed\. Open the artifact again"):
        stand_in.shapes("0", {}, [])


def test_a_forgotten_worker_ends(tmp_path, monkeypatch, is_alive):
    script = tmp_path / "worker.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(client, "WORKER", script)
    worker = Worker(Path(sys.executable))
    pid = worker._process.pid
    assert is_alive(pid)
    del worker
    gc.collect()
    assert not is_alive(pid)


def test_large_arrays_cost_little(tmp_path, monkeypatch):
    """An image of 800 x 1216 there and back four times: seconds of this process, which busy machines do not change."""
    script = tmp_path / "worker.py"
    loop = "    data = sys.stdin.buffer.read(4 * 3 * 800 * 1216)\n"
    answer = (
        '    send({"arrays": json.loads(line)["arrays"]})\n    sys.stdout.buffer.write(data)\n    sys.stdout.flush()\n'
    )
    script.write_text(STAND_IN[: STAND_IN.index("    number")] + loop + answer)
    monkeypatch.setattr(client, "WORKER", script)
    worker = Worker(Path(sys.executable))
    image = np.random.default_rng(0).uniform(size=(1, 3, 800, 1216)).astype(np.float32)
    start = time.process_time()
    for _ in range(4):
        back = worker.run("0", {"data": image}, ["data"])["data"]
    assert time.process_time() - start < 0.5
    assert (back == image).all() and back.flags.writeable
    worker.close()


def wait_for(what: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


PARENT = """
import sys, numpy as np
from d2deploy import Caffe2Model
model = Caffe2Model(sys.argv[1])
model([{"image": np.full((3, 32, 32), 110, np.uint8)}])
print(model._runner._worker._process.pid, flush=True)
model([{"image": np.full((3, 1600, 1600), 110, np.uint8)}] * 4)
"""


@pytest.mark.usefixtures("runtime")
def test_no_orphan_is_left_of_a_killed_parent(artifact, is_alive):
    """Killed by force, while Caffe2 is in the middle of a net."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, artifact.path], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    stat = Path(f"/proc/{worker}/stat")
    idle = sum(map(int, stat.read_text().split()[13:15]))  # ticks of processor time
    assert wait_for(lambda: sum(map(int, stat.read_text().split()[13:15])) > idle + 50), "it is at work"
    assert parent.poll() is None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_for(lambda: not is_alive(worker))
