"""What is done with a network's outputs inside a graph, against the same in numpy outside of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from d2deploy.artifact import PanopticRule
from d2deploy.ops.find_keypoints import FindKeypoints
from d2deploy.ops.merge_panoptic import MergePanoptic
from d2deploy.ops.paste_masks import PasteMasks
from d2deploy.ops.rescale_boxes import rescale_boxes, scales
from d2deploy.ops.resize_maps import ResizeMaps
from d2deploy.postprocess import Frame, find_keypoints, merge, paste_masks
from d2deploy.postprocess import rescale_boxes as rescale_in_numpy
from d2deploy.results import Instances
from d2deploy.results.resize import resize

sides = st.integers(1, 60)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def boxes_in(count: int, height: int, width: int, *, beyond: float = 0.0) -> Tensor:
    """Boxes [count,4] of an image, of all sizes; some reach `beyond` its border."""
    corners = (random(count, 2, 2) * (1 + 2 * beyond) - beyond).sort(dim=1).values.flatten(1)
    return corners * torch.tensor([width, height, width, height], dtype=torch.float32)


@pytest.mark.parametrize("columns", [4, 5])
@given(sides, sides, sides, sides)
def test_boxes(columns: int, height: int, width: int, old_height: int, old_width: int) -> None:
    boxes = boxes_in(20, height, width, beyond=0.5)
    if columns == 5:
        turned = random(20, 1) * 360 - 180
        turned[:4] = torch.tensor([[0.0], [90], [-90], [0.5]])
        boxes = torch.cat((boxes[:, :2], boxes[:, 2:].abs(), turned), dim=1)
    frame = Frame(input_size=(height, width), image_size=(old_height, old_width))
    expected, kept = rescale_in_numpy(boxes.numpy(), frame)
    sizes = torch.tensor([[old_height, old_width]])
    scale = scales(torch.tensor([[height, width]]), sizes)
    found, rows = rescale_boxes(boxes, scale.expand(20, -1), sizes.expand(20, -1))
    np.testing.assert_allclose(found.numpy()[kept], expected[kept], atol=2e-3, rtol=1e-5)
    assert rows.tolist() == np.flatnonzero(kept).tolist()


def test_boxes_of_several_images() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [30, 0, 40, 10]])
    index, sizes = torch.tensor([0, 1, 1]), torch.tensor([[20, 20], [10, 60]])
    scale = scales(torch.tensor([[10, 10], [20, 20]]), sizes)
    found, rows = rescale_boxes(boxes, scale[index], sizes[index])
    assert found[:2].tolist() == [[0, 0, 20, 20], [0, 0, 30, 5]]
    assert rows.tolist() == [0, 1]  # the third begins where its image ends


@given(sides, sides, st.integers(0, 12))
def test_masks(height: int, width: int, count: int) -> None:
    probs, boxes = random(count, 14, 14), boxes_in(count, height, width)
    masks = PasteMasks()(probs, boxes, torch.tensor([[height, 3], [2, width]])).numpy()
    expected = paste_masks(probs.numpy(), boxes.numpy(), (max(height, 2), max(width, 3)))
    assert masks.shape == expected.shape and masks.dtype == bool
    assert np.count_nonzero(masks ^ expected) <= 1  # float32 sums in another order


def heatmaps_of(count: int, side: int = 56) -> Tensor:
    rough = torch.randn((count, 5, side // 4, side // 4), generator=torch.Generator().manual_seed(count))
    return torch.nn.functional.interpolate(rough * 3, size=(side, side), mode="bicubic") if count else rough


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("size", [(1, 1), (64, 1), (40, 200), (7, 5)], ids=str)
def test_keypoints(count: int, size: tuple[int, int]) -> None:
    heatmaps, boxes = heatmaps_of(count), boxes_in(count, *size)
    found = FindKeypoints()(heatmaps, boxes).numpy()
    expected = find_keypoints(heatmaps.numpy(), boxes.numpy())
    assert found.shape == expected.shape == (count, 5, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


SIZES = {
    "one": ([(30, 40)], [(60, 50)]),
    "unchanged": ([(30, 40)], [(30, 40)]),
    "three": ([(30, 40), (40, 30), (1, 1)], [(15, 20), (100, 75), (3, 9)]),
    "one pixel wide": ([(64, 1)], [(500, 7)]),
}


@pytest.mark.parametrize("case", SIZES)
def test_maps(case: str) -> None:
    inputs, originals = SIZES[case]
    maps = random(len(inputs), 4, 70, 47) * 10
    found = ResizeMaps()(maps, torch.tensor(inputs), torch.tensor(originals)).numpy()
    for i, ((height, width), size) in enumerate(zip(inputs, originals, strict=True)):
        expected = resize(maps[i, :, :height, :width].numpy(), size)
        np.testing.assert_allclose(found[i, :, : size[0], : size[1]], expected, atol=1e-5)
    assert found.shape[2:] == tuple(np.max(originals, axis=0))


def scene(count: int, images: int, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """masks, scores falling within an image, numbers (class, image), labels: masks that overlap."""
    corners = boxes_in(count, *size).round().long()
    masks = torch.zeros((count, *size), dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, corners.tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    image = torch.arange(count) * images // max(count, 1)
    scores = torch.linspace(1, 0, count) if images == 1 else 1 - torch.arange(count) % 7 / 10
    rough = random(images, 6, 4, 4)
    labels = torch.nn.functional.interpolate(rough, size=size, mode="nearest").argmax(dim=1)
    return masks, scores.float(), torch.stack((torch.arange(count) % 3, image), dim=1), labels


@pytest.mark.parametrize("stuff_area", [0, 60])
@pytest.mark.parametrize(("count", "images"), [(0, 1), (12, 1), (20, 3), (0, 2)])
def test_panoptic(count: int, images: int, stuff_area: int) -> None:
    masks, scores, numbers, labels = scene(count, images, (40, 30))
    op = MergePanoptic(overlap=0.5, stuff_area=stuff_area, score=0.45, num_labels=6)
    picture, segments = op(masks, scores, numbers, labels)
    assert picture.dtype == torch.int32 and segments.dtype == torch.int64
    rule = PanopticRule(overlap=0.5, stuff_area=stuff_area, instance_score=0.45)
    for image in range(images):
        rows = np.flatnonzero(numbers[:, 1].numpy() == image)
        instances = Instances(
            image_size=(40, 30),
            pred_boxes=np.zeros((len(rows), 4)),
            scores=scores.numpy()[rows],
            pred_classes=numbers.numpy()[rows, 0],
            pred_masks=masks.numpy()[rows],
        )
        expected, expected_segments = merge(instances, labels[image].numpy(), rule)
        np.testing.assert_array_equal(picture[image].numpy(), expected)
        mine = segments[segments[:, 0] == image].tolist()
        rows_of = [-1 if s.instance_id is None else int(rows[s.instance_id]) for s in expected_segments]
        assert [row[1:5] for row in mine] == [
            [s.id, int(s.is_thing), s.category_id, row] for s, row in zip(expected_segments, rows_of, strict=True)
        ]
        assert [row[5] for row in mine if not row[2]] == [s.area for s in expected_segments if not s.is_thing]
    assert count == 0 or 0 < int(segments[:, 2].sum()) < count, "some are drawn, some are left out"


CASES: dict[str, tuple[torch.nn.Module, list[tuple[Tensor, ...]]]] = {
    "keypoints": (FindKeypoints(), [(heatmaps_of(d), boxes_in(d, 50, 60)) for d in (2, 0, 5)]),
    "maps": (
        ResizeMaps(),
        [(random(len(a), 3, 70, 47), torch.tensor(a), torch.tensor(b)) for a, b in SIZES.values()],
    ),
    "masks": (PasteMasks(), [(random(d, 7, 7), boxes_in(d, 9, 8), torch.tensor([[9, 8]])) for d in (2, 0, 5)]),
    "panoptic": (
        MergePanoptic(overlap=0.5, stuff_area=9, score=0.3, num_labels=6),
        [scene(6, 2, (20, 30)), scene(0, 1, (9, 7)), scene(9, 3, (1, 8))],
    ),
}


@pytest.mark.parametrize("capture", ["script", "trace"])
@pytest.mark.parametrize("case", CASES)
def test_captured_on_one_size_it_runs_on_all(case: str, capture: str, captures: dict[str, Callable[..., Any]]) -> None:
    op, samples = CASES[case]
    captured = captures[capture](op, samples[0])
    for sample in samples:
        ours, theirs = captured(*sample), op(*sample)
        for a, b in zip(*((x if isinstance(x, tuple) else (x,)) for x in (ours, theirs)), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.parametrize("case", CASES)
def test_no_device_inside(case: str) -> None:
    assert "Device = prim::Constant" not in str(torch.jit.script(CASES[case][0]).inlined_graph)
