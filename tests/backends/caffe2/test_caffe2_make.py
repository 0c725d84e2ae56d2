"""The Makefile: Caffe2's tests run with `make test` where they can, and where not, that is said."""

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]


def steps(target: str, *arguments: str) -> str:
    """What make would do; nothing is done. A make that runs these tests would pass its own settings on."""
    kept_out = ("D2DEPLOY_CAFFE2_PYTHON", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    surroundings = {name: value for name, value in os.environ.items() if name not in kept_out}
    command = ["make", "--dry-run", "--always-make", "--old-file=install", target, *arguments]
    done = subprocess.run(command, cwd=REPO, env=surroundings, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("target", ["test", "test-caffe2"])
def test_an_old_python_is_used(target):
    said = steps(target, "CAFFE2_PYTHON=/usr/bin/python3.8")
    assert "caffe2-runtime --python /usr/bin/python3.8 --folder build/caffe2-env" in said
    (run,) = (line for line in said.splitlines() if "-m pytest" in line)
    assert run.startswith(f"D2DEPLOY_CAFFE2_PYTHON={REPO}/build/caffe2-env/bin/python .venv/bin/python -m pytest")


def test_without_one_it_is_said():
    said = steps("test", "CAFFE2_PYTHON=")
    assert "caffe2-runtime" not in said
    check = said[said.index('test -n ""') :]
    told = subprocess.run(["sh", "-c", check], capture_output=True, text=True, check=True).stdout
    assert told.startswith("Not proven: that Caffe2 runs the nets") and len(told.splitlines()) == 1
    there = steps("test", "CAFFE2_PYTHON=/usr/bin/python3.8")
    check = there[there.index('test -n "/usr') :]
    assert subprocess.run(["sh", "-c", check], capture_output=True, text=True, check=True).stdout == ""


def test_the_tests_of_caffe2_alone_fail_without_one():
    said = steps("test-caffe2", "CAFFE2_PYTHON=")
    check = said[said.index('test -n ""') : said.index(".venv/bin/python -m pytest")]
    told = subprocess.run(["sh", "-c", check], capture_output=True, text=True)
    assert told.returncode == 1 and "Not proven" in told.stdout
