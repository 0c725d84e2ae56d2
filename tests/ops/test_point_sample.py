"""Points of feature maps against torch's own grid sampling."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2deploy.ops.point_sample import PointSample, point_sample
from d2deploy.ops.regular_points import RegularPoints, regular_points


def made(rows: int, count: int, images: int = 3, *, height: int = 5, width: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    features = torch.randn((images, 4, height, width), generator=generator)
    # A cell and a half beyond the map on all sides.
    points = torch.rand((rows, count, 2), generator=generator) * torch.tensor([width + 3, height + 3]) - 1.5
    return features, points, torch.randint(0, images, (rows,), generator=generator)


def grid_sample(features: Tensor, points: Tensor, image_index: Tensor) -> Tensor:
    size = torch.tensor([features.shape[3], features.shape[2]])
    grid = (points / size * 2 - 1)[:, :, None]
    return nn.functional.grid_sample(features[image_index], grid, align_corners=False)[..., 0].transpose(1, 2)


@pytest.mark.parametrize(("rows", "count"), [(6, 11), (1, 1), (0, 3), (4, 0)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_grid_sampling(rows: int, count: int, layout: torch.memory_format) -> None:
    features, points, image_index = made(rows, count)
    sampled = point_sample(features.to(memory_format=layout), points, image_index)
    assert sampled.shape == (rows, count, 4)
    if rows and count:
        assert torch.allclose(sampled, grid_sample(features, points, image_index), atol=1e-5)


def test_a_cell_has_its_value_at_its_centre_and_far_away_is_nothing() -> None:
    features, _, image_index = made(2, 1)
    centres = regular_points(image_index, 1) + torch.tensor([3.0, 2.0])
    assert torch.equal(point_sample(features, centres, image_index)[:, 0], features[image_index, :, 2, 3])
    for x, y in ((-0.5, 2.5), (9.5, 2.5), (3.5, -0.5), (3.5, 5.5), (1e9, 1e9), (-1e9, 0.0)):
        assert not point_sample(features, torch.tensor([[[x, y]]]).expand(2, -1, -1), image_index).any()


@pytest.mark.parametrize("how", ["script", "trace"])
def test_captured_with_other_sizes(how: str, captures: Any) -> None:
    captured = captures[how](PointSample(), made(3, 4))
    for sample in (made(5, 2, images=1, height=1, width=12), made(0, 7), made(2, 3, images=4, height=8, width=2)):
        assert torch.equal(captured(*sample), point_sample(*sample))


def test_regular_points() -> None:
    points = regular_points(torch.zeros(2, 4), 2)
    assert points.tolist() == [[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]] * 2
    assert regular_points(torch.zeros(0, 4), 7).shape == (0, 49, 2)
    # detectron2 makes them by affine_grid over the unit square.
    affine = torch.tensor([[[0.5, 0, 0.5], [0, 0.5, 0.5]]])
    theirs = nn.functional.affine_grid(affine, [1, 1, 14, 14], align_corners=False).reshape(1, -1, 2)
    assert torch.allclose(regular_points(torch.zeros(1, 4), 14), theirs, atol=1e-7)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_regular_points_captured(how: str, captures: Any) -> None:
    captured = captures[how](RegularPoints(3), (torch.zeros(2, 4),))
    assert torch.equal(captured(torch.zeros(5, 4)), regular_points(torch.zeros(5, 4), 3))
