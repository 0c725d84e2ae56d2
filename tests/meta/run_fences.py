"""Run the code of a Markdown page: its ```python and ```console blocks, in order, in one folder.

A console block holds lines `$ command`, continued by a backslash at the end of a line. Other lines are the output of
the command above them and are compared, with `...` for anything; a command without such lines may print what it
likes. The Python blocks of a page share their names. A block ```python caffe2 is a program for the Python with Caffe2.
"""

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Commands that are not run, by how they begin: they install, or they are the Makefile, which runs these tests.
SKIPPED = ("pip install ", "python3.11 -m venv ", "git clone ", "cd ", "make", ".venv/bin/")
SECONDS = 600  # against hanging; where processes share cores an export takes minutes


@dataclass(frozen=True)
class Step:
    """One thing to run: `language` is "python", "console" or "caffe2"; `expected`: "" when the page shows no output."""

    language: str
    line: int
    code: str
    expected: str = ""

    @property
    def is_skipped(self) -> bool:
        """Whether it is one of the commands that are shown but not run."""
        return self.language == "console" and self.code.startswith(SKIPPED)


def steps(text: str) -> list[Step]:
    """What the page `text` would have its reader run, top to bottom."""
    found: list[Step] = []
    for fence in re.finditer(r"^```(python|console|python caffe2)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        line = text[: fence.start()].count("\n") + 2
        language = fence[1].split()[-1]
        found += _commands(fence[2], line) if language == "console" else [Step(language, line, fence[2])]
    return found


def _commands(block: str, line: int) -> list[Step]:
    found = []
    joined = block.replace("\\\n", " ")
    for part in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        found.append(Step("console", line, command, expected))
    if not found or not block.startswith("$ "):
        raise ValueError(f"line {line}: a console block begins with '$ '")
    return found


def run_page(text: str, folder: Path, *, caffe2: Path | None = None) -> int:
    """Run every step of the page `text` in `folder`; how many ran. Raises AssertionError at the first that fails.

    `caffe2`: the Python with Caffe2; without one the steps for it are left out.
    """
    names: dict[str, object] = {"__name__": "__main__"}
    run = {
        "python": lambda step: _python(step, names, folder),
        "console": lambda step: _process(step, ["bash", "-ec", step.code], folder),
        "caffe2": lambda step: _process(step, [str(caffe2), "-I", "-c", step.code], folder),
    }
    todo = [step for step in steps(text) if not step.is_skipped and (caffe2 or step.language != "caffe2")]
    for step in todo:
        printed = run[step.language](step)
        matches = doctest.OutputChecker().check_output(step.expected, printed, doctest.ELLIPSIS)
        assert matches or not step.expected, f"{step}\nprinted\n{printed}"
    return len(todo)


def _python(step: Step, names: dict[str, object], folder: Path) -> str:
    printed = io.StringIO()
    code = "\n" * (step.line - 1) + step.code  # so that a traceback shows the page's line
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, "page.md", "exec"), names)
        except Exception as error:
            raise AssertionError(f"{step}\n{error!r}") from error
    return printed.getvalue()


def _process(step: Step, command: list[str], folder: Path) -> str:
    run = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=SECONDS)
    assert run.returncode == 0, f"{step}\nexit {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout


def _environment(folder: Path) -> dict[str, str]:
    """Where `d2deploy` is this checkout's, whether or not a script of that name is installed."""
    tools = folder / ".bin"
    tools.mkdir(exist_ok=True)
    (tools / "d2deploy").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m d2deploy "$@"\n')
    (tools / "d2deploy").chmod(0o755)
    source = str(Path(__file__).parents[2] / "src")
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])),
    }
