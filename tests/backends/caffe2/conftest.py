"""The demo's net, and the real runtime where it is: `make test` makes one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from d2deploy.artifact import Artifact
from d2deploy.backends.caffe2 import FILE, INIT_FILE
from d2deploy.backends.caffe2.messages import read_net
from d2deploy.backends.caffe2.runtime import runtime_python
from d2deploy.image import read_image, resize_shortest_edge
from d2deploy.models.build import Model


@pytest.fixture(scope="session")
def runtime() -> Path:
    """A Python with Caffe2; without one the test is skipped."""
    python = runtime_python()
    if python is None:
        pytest.skip("no Caffe2 runtime here: make test CAFFE2_PYTHON=python3.8")
    return python


@pytest.fixture
def artifact(exported: Callable[[str], Artifact]) -> Artifact:
    """The demo's network as Caffe2."""
    return exported("caffe2-tracing")


@pytest.fixture(scope="session")
def inputs(model: Model, golden: Path) -> Callable[[int], list[dict[str, Any]]]:
    """Function: how many -> images of different sizes as detectron2's networks take them, resized for the demo's."""

    def make(count: int) -> list[dict[str, Any]]:
        rule = model.spec.preprocess
        made = []
        for file in sorted((golden / "shapes" / "val").glob("*.jpg"))[40 : 40 + count]:
            picture = read_image(file)
            small = resize_shortest_edge(picture, min_size=rule.min_size, max_size=rule.max_size)
            height, width = picture.shape[:2]
            made.append({"image": small.transpose(2, 0, 1), "height": height, "width": width, "file": file})
        return made

    return make


@pytest.fixture
def nets(artifact: Artifact) -> tuple[Any, Any]:
    """Its two NetDefs, read anew."""
    return read_net(artifact.path / FILE), read_net(artifact.path / INIT_FILE)


@pytest.fixture(scope="session")
def is_alive() -> Callable[[int], bool]:
    """Function: number of a process -> whether it still runs."""

    def alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
        except (ProcessLookupError, FileNotFoundError):
            return False

    return alive
