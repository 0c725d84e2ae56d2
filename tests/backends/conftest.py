"""The demo's network and its export in every format and method, each made once."""

import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from d2deploy.artifact import Artifact, read_artifact
from d2deploy.backends import FORMATS
from d2deploy.models.build import Model, load_model
from d2deploy.workflows.export import export

DEMO = Path(__file__).parents[2] / "src" / "d2deploy" / "demo"
KINDS = [f"{row.name}-{method}" for row in FORMATS.values() if not row.is_apart for method in row.methods]


@pytest.fixture(scope="session")
def model() -> Model:
    return load_model(
        DEMO / "config.yaml", DEMO / "model_final.pth", class_names=(DEMO / "classes.txt").read_text().split()
    )


@pytest.fixture(scope="session")
def exported(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Artifact]:
    """Function: kind -> its artifact, made at the first call; not verified by export, the tests here do that."""

    @cache
    def make(kind: str) -> Artifact:
        format, method = kind.split("-")
        root = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            root = root.parent  # one export for all workers
        with FileLock(root / f"{kind}.lock"):
            if (root / kind).exists():
                return read_artifact(root / kind)
            return export(model, format, root / kind, method=method, verify=False)

    return make


@pytest.fixture(params=KINDS)
def artifact(request: pytest.FixtureRequest, exported: Callable[[str], Artifact]) -> Artifact:
    """An artifact of every format and method."""
    return exported(request.param)


@pytest.fixture(scope="session")
def same_rows() -> Callable[[tuple[np.ndarray, ...], tuple[np.ndarray, ...]], int]:
    """Function: checks that each row of one runner's outputs is a row of another's; how many there are."""
    return _same_rows


def _same_rows(ours: tuple[np.ndarray, ...], theirs: tuple[np.ndarray, ...]) -> int:
    """Whatever the order of equal scores is."""
    assert [(array.shape, array.dtype) for array in ours] == [(array.shape, array.dtype) for array in theirs]
    rows = [[array.reshape(len(array), math.prod(array.shape[1:])) for array in side] for side in (ours, theirs)]
    flat = [np.concatenate(columns, axis=1) for columns in rows]
    distances = np.abs(flat[0][:, None] - flat[1]).max(axis=2)
    if distances.size:
        assert max(distances.min(axis=0).max(), distances.min(axis=1).max()) <= 1e-2
    return len(flat[0])
