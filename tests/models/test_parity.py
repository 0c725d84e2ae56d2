"""The eager core against detectron2's own numbers, stage by stage (issue: boxes 0.02 px, scores 2e-4, stages 1e-3)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2deploy.postprocess import to_instances

FOLDER = Path(__file__).parents[1] / "golden" / "detectron2"
CASES = [
    (file.parent.relative_to(FOLDER).as_posix(), image)
    for file in sorted(FOLDER.rglob("golden.json"))
    for image in json.loads(file.read_text())["images"]
]
STAGE = 1e-3  # of the largest value of the stage
BOXES_PX, SCORES, MASK_PIXELS = 0.02, 2e-4, 1e-3


def close(ours: torch.Tensor | np.ndarray, theirs: np.ndarray, what: str) -> None:
    """Equal within STAGE of the largest value."""
    difference = np.abs(np.asarray(ours, np.float64) - theirs).max()
    assert difference <= STAGE * np.abs(theirs).max(), f"{what}: {difference}"


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}:{case[1]}")
def case(request: pytest.FixtureRequest, load_golden: Any) -> Any:
    name, image = request.param
    golden = load_golden(name)
    keys = {key.removeprefix(f"{image}/"): key for key in golden.arrays.files if key.startswith(f"{image}/")}
    return golden, image, {short: golden.arrays[key] for short, key in keys.items()}


def test_goldens_are_there() -> None:
    assert len(CASES) >= 4


@torch.inference_mode()
def test_features(case: Any) -> None:
    golden, image, expected = case
    images, sizes = golden.inputs(image)
    assert list(sizes[0]) == list(expected["input/hw"])
    prepared = golden.core.prepare(images, sizes)
    bottom_up = golden.core.backbone.bottom_up(prepared)
    features = golden.core.backbone(prepared)
    compared = 0
    for stage, maps in (("bottomup", bottom_up), ("feat", features)):
        for level, ours in maps.items():
            assert list(ours.shape) == list(expected[f"{stage}/{level}/shape"])
            close(ours[0, :16, :4, :4], expected[f"{stage}/{level}/corner"][:, : ours.shape[2]], f"{stage} {level}")
            stats = np.array([ours.mean(), ours.std(), ours.abs().max()])
            close(stats, expected[f"{stage}/{level}/stats"], f"{stage} {level} statistics")
            compared += 1
    assert compared == 9


@torch.inference_mode()
def test_proposals_and_heads(case: Any) -> None:
    golden, image, expected = case
    images, sizes = golden.inputs(image)
    heads = golden.core.roi_heads
    features = golden.core.backbone(golden.core.prepare(images, sizes))
    boxes, logits = golden.core.proposal_generator(features, sizes)
    assert int((logits > float("-inf")).sum()) == golden.facts["meta"][f"{image}/prop/n"]
    close(logits[0, :100], expected["prop/logits"], "objectness")
    assert np.abs(boxes[0, :100].numpy() - expected["prop/boxes"]).max() <= BOXES_PX

    levels = [features[name] for name in heads.in_features]
    first = torch.from_numpy(expected["prop/boxes"])[:10]
    pooled = heads.box_pooler(levels, first, torch.zeros(len(first), dtype=torch.int64))
    close(pooled[:5, :8], expected["roi/box_pooler/rows"], "pooled boxes")
    hidden = heads.box_head(pooled)
    close(hidden[:5, :64], expected["roi/box_head/rows"], "box head")
    scores = heads.box_predictor.cls_score(hidden)
    close(scores, expected["roi/box_predictor/scores"], "class scores")
    close(heads.box_predictor.bbox_pred(hidden)[:, :40], expected["roi/box_predictor/deltas"], "deltas")
    found = torch.from_numpy(expected["raw/boxes"])[:5]
    pooled = heads.mask_pooler(levels, found, torch.zeros(len(found), dtype=torch.int64))
    close(pooled[:, :8], expected["roi/mask_pooler/rows"], "pooled masks")


@torch.inference_mode()
def test_detections(case: Any) -> None:
    golden, image, expected = case
    images, sizes = golden.inputs(image)
    names = ("boxes", "scores", "classes", "image_index", "mask_probs")
    outputs = {name: tensor.numpy() for name, tensor in zip(names, golden.core(images, sizes), strict=True)}
    pairs = paired(outputs, {name: expected[f"raw/{name}"] for name in ("boxes", "scores", "classes")})
    probs = outputs["mask_probs"][[ours for ours, theirs in pairs if theirs < 20]]
    assert np.abs(probs - expected["raw/masks"][[t for _, t in pairs if t < 20]]).max() <= 2e-3  # stored as float16

    info = golden.facts["images"][image]
    original = (info["height"], info["width"])
    instances = to_instances(outputs, input_size=tuple(sizes[0].tolist()), image_size=original)
    ours = {"boxes": instances.pred_boxes, "scores": instances.scores, "classes": instances.pred_classes}
    pairs = paired(ours, {name: expected[f"det/{name}"] for name in ours})
    assert instances.pred_masks is not None
    pixels = original[0] * original[1]
    for mine, theirs in pairs:
        mask = instances.pred_masks[mine]
        assert abs(int(mask.sum()) - int(expected["det/masks_area"][theirs])) <= MASK_PIXELS * pixels
        if theirs < len(expected["det/masks_bits"]):
            bits = np.unpackbits(expected["det/masks_bits"][theirs])[:pixels].reshape(original).astype(bool)
            assert np.count_nonzero(mask ^ bits) <= MASK_PIXELS * pixels


def paired(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of equal detections; fails on one without partner, unless it stands at the score threshold of 0.05."""
    left = set(range(len(theirs["boxes"])))
    pairs = []
    alone = []
    for i, box in enumerate(ours["boxes"]):
        distances = {
            j: np.abs(box - theirs["boxes"][j]).max() for j in left if theirs["classes"][j] == ours["classes"][i]
        }
        j = min(distances, key=distances.__getitem__, default=None)
        if j is None or distances[j] > 1:
            alone.append(float(ours["scores"][i]))
            continue
        assert distances[j] <= BOXES_PX
        assert abs(ours["scores"][i] - theirs["scores"][j]) <= SCORES
        left.remove(j)
        pairs.append((i, j))
    alone += [float(theirs["scores"][j]) for j in left]
    assert len(alone) <= 1 and all(score < 0.05 + SCORES for score in alone), alone
    assert pairs
    return pairs
