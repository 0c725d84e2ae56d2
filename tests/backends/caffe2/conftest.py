"""The demo's net, and the real runtime where it is: `make test-caffe2` makes one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from d2deploy.artifact import Artifact
from d2deploy.backends.caffe2 import FILE, INIT_FILE
from d2deploy.backends.caffe2.messages import read_net
from d2deploy.backends.caffe2.runtime import runtime_python


@pytest.fixture(scope="session")
def runtime() -> Path:
    """A Python with Caffe2; without one the test is skipped."""
    python = runtime_python()
    if python is None:
        pytest.skip("no Caffe2 runtime here: make test-caffe2")
    return python


@pytest.fixture
def artifact(exported: Callable[[str], Artifact]) -> Artifact:
    """The demo's network as Caffe2."""
    return exported("caffe2-tracing")


@pytest.fixture
def nets(artifact: Artifact) -> tuple[Any, Any]:
    """Its two NetDefs, read anew."""
    return read_net(artifact.path / FILE), read_net(artifact.path / INIT_FILE)
