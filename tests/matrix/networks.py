"""The families' networks, with reproducible weights that detect things; and arrays to run them on."""

import dataclasses
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from families import FAMILIES

from d2deploy import load_model
from d2deploy.artifact import Artifact
from d2deploy.backends.capture import swapped
from d2deploy.config.model import read_model_config
from d2deploy.models.build import Model, build_model
from d2deploy.ops.score_threshold import ScoreThreshold
from d2deploy.runner import open_runner

GOLDEN = Path(__file__).parents[1] / "golden"

# Masks that are sure of themselves: with logits near 0 every pixel would be a tie.
GAINS = dict.fromkeys(
    (
        "roi_heads.mask_head.predictor.weight",
        "roi_heads.mask_head.point_head.predictor.weight",
        "head.mask_pred_03.weight",
        "head.mask_pred_04.weight",
    ),
    64.0,
)

# Height and width of each image of a batch, the largest first; one pixel wide; of a size that is no multiple of 32.
BATCHES = {"one": [(96, 128)], "three": [(130, 170), (64, 170), (101, 1)], "one pixel wide": [(64, 1)]}


def network_maker(folder: Path) -> Callable[[str], Model]:
    """Function: family -> its network, made once; its files lie in `folder`."""
    weights = _golden_weights()

    @cache
    def make(family: str) -> Model:
        row = FAMILIES[family]
        place = folder / str(list(FAMILIES).index(family))
        place.mkdir()
        config = row.config or str(place / "config.yaml")
        if not row.config:
            Path(config).write_text("VERSION: 2\n")
        with torch.device("meta"):
            core = build_model(read_model_config(config, row.overrides, **row.sizes))
        shapes = {key: list(tensor.shape) for key, tensor in core.state_dict().items()}
        arrays = weights.deterministic_state_dict(shapes, 7, {**GAINS, **row.gains})
        for part, shift in row.shifts.items():
            arrays |= {key: array + np.float32(shift) for key, array in arrays.items() if part in key}
        torch.save({"model": {key: torch.from_numpy(array) for key, array in arrays.items()}}, place / "model.pth")
        return load_model(config, place / "model.pth", overrides=row.overrides, **row.sizes)

    return make


def _golden_weights() -> Any:
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None and spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    return weights


def with_score_threshold(model: Model, threshold: float) -> Model:
    """`model` with another score threshold built in. Weights are shared."""
    assert model.spec.thresholds is not None
    core = swapped(model.core, {ScoreThreshold: lambda _: ScoreThreshold(threshold)}, keep_aliases=True).eval()
    thresholds = dataclasses.replace(model.spec.thresholds, score=threshold)
    return dataclasses.replace(model, core=core, spec=dataclasses.replace(model.spec, thresholds=thresholds))


def that_can_find_nothing(model: Model) -> tuple[Model, list[np.ndarray]]:
    """`model` with a score threshold, and an image of one colour in which it finds nothing just because of it.

    Random weights find something in any image; in a tiny one of one colour the least.
    """
    eager = open_runner(with_score_threshold(model, 0.0))
    scores = [output.name for output in eager.outputs].index("scores")
    found: list[tuple[float, list[np.ndarray]]] = []
    for size in ((1, 1), (1, 16), (16, 1), (8, 8), (24, 24)):
        for level in (0, 110, 255):
            arrays = [np.full((1, 3, *size), level, np.float32), np.array([size])]
            found.append((float(eager(*arrays)[scores].max(initial=0)), arrays))
    best, arrays = min(found, key=lambda item: item[0])
    return with_score_threshold(model, best + 0.01), arrays


def with_nothing(model: Model) -> tuple[Model, list[np.ndarray] | None]:
    """`model`, or the same with another score threshold, and arrays in which it finds nothing; None: it always does."""
    if len(model.spec.inputs) == 4:
        return model, inputs_of(model, [(64, 70), (64, 33), (1, 1)], proposals=0)
    return that_can_find_nothing(model) if model.spec.thresholds else (model, None)


def inputs_of(model: Model | Artifact, sizes: list[tuple[int, int]], *, proposals: int) -> list[np.ndarray]:
    """Noise, and boxes in it: `proposals` for the first image, one less for each further one."""
    random = np.random.default_rng(5)
    images = random.uniform(0, 255, (len(sizes), 3, *sizes[0])).astype(np.float32)
    corners = np.sort(random.uniform(0, 1, (len(sizes), proposals, 2, 2)), axis=2)
    corners *= np.array(sizes)[:, None, None, ::-1]
    made = {
        "images": images,
        "image_sizes": np.array(sizes),
        "proposal_boxes": corners.reshape(len(sizes), proposals, 4).astype(np.float32),
        "num_proposals": np.maximum(proposals - np.arange(len(sizes)), 0),
    }
    return [made[tensor.name] for tensor in model.spec.inputs]
