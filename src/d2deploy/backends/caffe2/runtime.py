"""The Python that still has Caffe2: where it is, and how to make it.

PyPI's torch 1.8.1 is the last that contains Caffe2; it wants Python 3.6 to 3.9. d2deploy talks to it through a process
(client.py), so that environment needs nothing of d2deploy.
"""

import os
import shutil
import subprocess
from pathlib import Path

from d2deploy.errors import MissingExtra, OutputError

VARIABLE = "D2DEPLOY_CAFFE2_PYTHON"
VERSIONS = ("3.6", "3.7", "3.8", "3.9")
# Newer protobuf refuses Caffe2's generated messages, newer numpy its torch; the pip of Python 3.6 may choose a
# typing-extensions that is not for it.
PACKAGES = ("torch==1.8.1", "numpy<1.24", "protobuf<3.21", "typing-extensions<4.2", "future", "six")
SIZE = "1.7 GB"


def default_folder() -> Path:
    """Where `d2deploy caffe2-runtime` puts the environment unless told otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "d2deploy" / "caffe2-env"


def runtime_python() -> Path | None:
    """The interpreter with Caffe2: $D2DEPLOY_CAFFE2_PYTHON, else that of the default folder; None: there is none.

    Raises MissingExtra when the variable names no file.
    """
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise MissingExtra(f"{VARIABLE} is {named}, which is no file. Set it to a Python with Caffe2, or unset it.")
        return Path(named)
    made = python_of(default_folder())
    return made if made.is_file() else None


def python_of(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def needed_runtime() -> Path:
    """As runtime_python, where there is no going on without. Raises MissingExtra."""
    python = runtime_python()
    if python is None:
        raise MissingExtra(
            f"Caffe2 runs in a Python 3.6 to 3.9 with torch 1.8.1, and d2deploy knows of none. Make one ({SIZE}, "
            f"PyPI): d2deploy caffe2-runtime --python python3.8   or set {VARIABLE} to a Python that has it."
        )
    return python


def make_runtime(python: str, folder: Path) -> Path:
    """A virtual environment of `python` (a path, or a name on PATH) with Caffe2 in `folder`; its interpreter.

    Raises OutputError: no such Python, too new or old, or pip failed; then `folder` is removed again.
    """
    found = shutil.which(python)
    if found is None:
        raise OutputError(f"There is no Python {python}. Give the path of a Python {' or '.join(VERSIONS)}.")
    asked = subprocess.run(
        [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    version = asked.stdout.strip()
    if not version:
        raise OutputError(f"{found} does not start: {_last(asked)}. Give the path of another Python.")
    if version not in VERSIONS:
        raise OutputError(f"{found} is Python {version}. torch 1.8.1 wants {', '.join(VERSIONS)}: give one of these.")
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty. Remove it, or choose another folder.")
    try:
        _run([found, "-m", "venv", str(folder)])
        made = python_of(folder)
        _run([str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
        _run([str(made), "-I", "-c", "from caffe2.python import workspace"])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return made


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OutputError(f"{' '.join(command[:4])} ... failed: {_last(done)}. Check the network and try again.")
    return done.stdout


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    return " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
