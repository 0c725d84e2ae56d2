"""Artifacts that tests share: each made once, by the first process that asks for it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from d2deploy.artifact import Artifact, read_artifact

# Both start from one graph, which takes half a minute to make and which backends/onnx keeps for its network: whoever
# makes the one makes the other, too.
OF_ONE_GRAPH = ("onnx-tracing", "openvino-tracing")


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run have."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def make_once(folder: Path, name: str, kind: str, export: Callable[[str, str, Path], Artifact]) -> Artifact:
    """The artifact of `kind`, "format-method", that is called `name`; `export` takes format, method and its place."""
    return make_together(folder, name, OF_ONE_GRAPH if kind in OF_ONE_GRAPH else (kind,), export)[kind]


def make_together(
    folder: Path, name: str, kinds: Sequence[str], export: Callable[[str, str, Path], Artifact]
) -> dict[str, Artifact]:
    """The same of several kinds, which one process makes, one after the other."""
    with FileLock(folder / f"{name}-{kinds[0]}.lock"):
        for kind in kinds:
            if not (place := folder / f"{name}-{kind}").exists():
                format, method = kind.split("-")
                export(format, method, place)
    return {kind: read_artifact(folder / f"{name}-{kind}") for kind in kinds}
