"""Without a package that is optional, what needs it says how to install it; nothing else notices."""

import subprocess
import sys

import pytest

from d2deploy.backends import FORMATS
from d2deploy.runner import EAGER

# A process in which the heavy packages are not installed.
BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "onnxruntime", "onnxscript", "openvino"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
OPEN = """
from types import SimpleNamespace
from d2deploy import open_runner
from d2deploy.errors import MissingExtra
try:
    open_runner(SimpleNamespace(format=sys.argv[1], spec=None))
except MissingExtra as error:
    print(error)
"""
COMMAND = "from d2deploy.cli import main; main(sys.argv[1:])"


def bare(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BARE + script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("format", "extra"),
    [(EAGER, "torch"), *((row.name, row.runtime_extra) for row in FORMATS.values() if not row.is_apart)],
)
def test_running_says_what_to_install(format, extra):
    run = bare(OPEN, format)
    assert f"pip install 'd2deploy[{extra}]'" in run.stdout, run.stderr


def test_a_command_says_what_to_install_and_leaves_nothing(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("MODEL: {MASK_ON: true}\n")
    output = tmp_path / "out"
    run = bare(COMMAND, "export", "--config-file", str(config), "--format", "onnx", "--output", str(output))
    assert run.returncode == 2
    assert "pip install 'd2deploy[" in run.stderr
    assert not output.exists()


@pytest.mark.parametrize("command", ["--help", "formats"])
def test_what_needs_nothing_works(command):
    run = bare(COMMAND, command)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout
