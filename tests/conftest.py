"""What every test may use."""

import os

# One thread a process, set before torch is loaded: where processes share cores, idle OpenMP threads spin on them and a
# forward pass takes forty times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The machine's cores are shared: how long an example takes says nothing. In CI the same examples every time.
settings.register_profile("d2deploy", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("d2deploy")


@pytest.fixture(scope="session")
def golden() -> Path:
    """tests/golden: what the real detectron2 gave; golden/README.md says where each file came from."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Function: family of tests/matrix -> its small network (models.build.Model), made once."""
    from networks import network_maker

    return network_maker(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="session")
def empty(network: Callable[[str], Any]) -> Callable[[str], Any]:
    """Function: family -> its network and arrays in which that finds nothing, or None where it always does."""
    from networks import with_nothing

    return cache(lambda family: with_nothing(network(family)))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit code, stdout, stderr."""
    from d2deploy.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        return int(exit.value.code or 0), *capfd.readouterr()

    return run
