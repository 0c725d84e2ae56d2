"""The demo's network and its export in every format and method, each made once."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from artifacts import OF_ONE_GRAPH, make_once, make_together, shared_folder

from d2deploy.artifact import Artifact
from d2deploy.backends import FORMATS
from d2deploy.backends.half_weights import with_half_weights
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
        def write(format: str, method: str, place: Path) -> Artifact:
            return export(model, format, place, method=method, verify=False)

        return make_once(shared_folder(tmp_path_factory), "demo", kind, write)

    return make


# Graph -> family, kinds of files, export's options: what several tests look at from different sides.
GRAPHS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "padded cascade": ("cascade", ("onnx-tracing",), {"outputs": "padded", "threshold_inputs": True}),
    # Its weights are rounded beforehand, so that all three kinds are made of one graph.
    "padded retinanet": (
        "retinanet",
        (*OF_ONE_GRAPH, "openvino-half"),
        {"outputs": "padded", "threshold_inputs": True},
    ),
    "whole panoptic": (
        "panoptic",
        OF_ONE_GRAPH,
        {"include_preprocess": True, "include_postprocess": True, "threshold_inputs": True},
    ),
    "finished keypoint": ("keypoint", OF_ONE_GRAPH, {"include_postprocess": True, "threshold_inputs": True}),
}


@pytest.fixture(scope="session")
def graph_file(
    network: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Any, Artifact]]:
    """Function: row of GRAPHS, one of its kinds -> the network and the file, made once, not verified.

    "openvino-half": with weights in 16 bits.
    """

    def make(name: str, kind: str) -> tuple[Any, Artifact]:
        family, kinds, options = GRAPHS[name]
        model = network(family)
        if "openvino-half" in kinds:
            model = with_half_weights(model)

        def write(format: str, how: str, place: Path) -> Artifact:
            half: dict[str, Any] = {"half_weights": True} if how == "half" else {}
            return export(model, format, place, verify=False, **options, **half)

        return model, make_together(shared_folder(tmp_path_factory), name, kinds, write)[kind]

    return cache(make)


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
