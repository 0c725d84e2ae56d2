"""PointRend's heads against their definition, class by class and box by box, and at their edges."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import swapped
from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models.point_rend.mask_head import PointRendMaskHead, implicit_branch, point_rend_branch
from d2deploy.models.point_rend.points import cell_points, most_unsure
from d2deploy.models.point_rend.sem_seg_head import PointRendSemSegHead
from d2deploy.models.pooler import BoxLevels
from d2deploy.models.sem_seg_head import SemSegFPNHead
from d2deploy.ops import LEAVES

CLASSES = 3
LEVELS = BoxLevels(("p2", "p3"), 8, [4, 8])
CONV_FC = schema.ConvFCHead(in_features=("p2",), resolution=4, conv_dim=8, fc_dims=(16,))
POINT = schema.StandardPointHead(
    in_features=("p2",), fc_dims=(16, 16), coarse_pred_each_layer=True, cls_agnostic_mask=False
)
IMPLICIT = schema.ImplicitPointHead(
    in_features=("p2",), fc_dims=(16,), image_feature_enabled=True, pos_enc_enabled=True, cls_agnostic_mask=False
)
GROWTH = schema.Subdivision(start=4, steps=2, num_points=20)
MASK = schema.PointRendMaskHead(coarse=CONV_FC, coarse_side=3, point=POINT, subdivision=GROWTH)
IMPLICIT_MASK = schema.ImplicitPointRendMaskHead(parameters=CONV_FC, point=IMPLICIT, subdivision=GROWTH)
HEADS: dict[str, Any] = {
    "plain": MASK,
    "coarse at first": replace(MASK, point=replace(POINT, coarse_pred_each_layer=False)),
    "one mask for all classes": replace(MASK, point=replace(POINT, cls_agnostic_mask=True)),
    "no layers": replace(MASK, point=replace(POINT, fc_dims=())),
    "several levels": replace(
        MASK, coarse=replace(CONV_FC, in_features=("p3", "p2")), point=replace(POINT, in_features=("p2", "p3"))
    ),
    "fewer channels": replace(MASK, coarse=replace(CONV_FC, conv_dim=4)),
    "no steps": replace(MASK, subdivision=replace(GROWTH, steps=0)),
    "implicit": IMPLICIT_MASK,
    "implicit, one mask": replace(IMPLICIT_MASK, point=replace(IMPLICIT, cls_agnostic_mask=True)),
    "implicit, no features": replace(IMPLICIT_MASK, point=replace(IMPLICIT, image_feature_enabled=False)),
    "implicit, no place": replace(IMPLICIT_MASK, point=replace(IMPLICIT, pos_enc_enabled=False)),
}
BRANCHES: dict[type, Any] = {
    schema.PointRendMaskHead: point_rend_branch,
    schema.ImplicitPointRendMaskHead: implicit_branch,
}


def build(config: Any) -> tuple[nn.Module, PointRendMaskHead]:
    pooler, head = BRANCHES[type(config)](config, LEVELS, CLASSES)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in head.state_dict().items():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1 if "matrix" in name else 0.4))
    assert isinstance(head, PointRendMaskHead)
    return pooler, head.eval().requires_grad_(False)


def made(boxes: int, images: int = 2) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Levels of images of 40 x 56 pixels, boxes in them, their images and classes."""
    generator = torch.Generator().manual_seed(boxes)
    levels = [torch.randn((images, 8, 40 // stride, 56 // stride), generator=generator) for stride in (4, 8)]
    corners = (torch.rand((boxes, 2, 2), generator=generator) * torch.tensor([56, 40])).sort(dim=1)[0]
    image_index = torch.randint(0, images, (boxes,), generator=generator)
    return levels, corners.flatten(1), image_index, torch.randint(0, CLASSES, (boxes,), generator=generator)


def sampled(level: Tensor, points: Tensor) -> Tensor:
    """level[C,H,W] at points[P,2] from 0 to 1 -> [C,P]."""
    return nn.functional.grid_sample(level[None], points[None, :, None] * 2 - 1, align_corners=False)[0, :, :, 0]


def points_of(cells: Tensor, side: int) -> Tensor:
    return torch.stack((cells % side, cells // side), dim=1) / side + 0.5 / side


class Definition:
    """detectron2's inference of one box, with all classes and with its layers as matrices (point_rend/mask_head.py)."""

    def __init__(self, config: Any, head: PointRendMaskHead) -> None:
        self.config, self.point = config, config.point
        self.tensors = head.state_dict()

    def mask(self, levels: list[Tensor], box: Tensor, label: int) -> Tensor:
        growth = self.config.subdivision
        self.vector = self.first(self.features(levels, box, points_of(torch.arange(16), 4), first=True))
        cells = torch.arange(growth.start**2)
        mask = self.logits(levels, box, points_of(cells, growth.start)).reshape(-1, growth.start, growth.start)
        for _ in range(growth.steps):
            mask = nn.functional.interpolate(mask[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
            flat = mask.flatten(1)
            cells = flat[label if len(flat) > 1 else 0].abs().argsort()[: growth.num_points]
            flat[:, cells] = self.logits(levels, box, points_of(cells, mask.shape[1]))
        return mask[label if len(mask) > 1 else 0].sigmoid()

    def features(self, levels: list[Tensor], box: Tensor, points: Tensor, *, first: bool = False) -> Tensor:
        part = self.config.coarse if first and hasattr(self.config, "coarse") else self.point
        names = CONV_FC.in_features if first and not hasattr(self.config, "coarse") else part.in_features
        pixels = box[:2] + points * (box[2:] - box[:2])
        return torch.cat([sampled(levels[LEVELS.names.index(name)], pixels / torch.tensor([56, 40])) for name in names])

    def first(self, seen: Tensor) -> Tensor:
        name = "coarse_head" if hasattr(self.config, "coarse") else "parameter_head"
        layers = {key.removeprefix(f"{name}."): tensor for key, tensor in self.tensors.items() if key.startswith(name)}
        x = seen.reshape(1, -1, 4, 4)
        if "reduce_channel_dim_conv.weight" in layers:
            x = nn.functional.conv2d(
                x, layers["reduce_channel_dim_conv.weight"], layers["reduce_channel_dim_conv.bias"]
            ).relu()
        spatial = layers["reduce_spatial_dim_conv.weight"], layers["reduce_spatial_dim_conv.bias"]
        x = nn.functional.conv2d(x, *spatial, stride=2).relu().flatten()
        x = (layers["fc1.weight"] @ x + layers["fc1.bias"]).relu()
        return layers["prediction.weight"] @ x + layers["prediction.bias"]

    def logits(self, levels: list[Tensor], box: Tensor, points: Tensor) -> Tensor:
        features = self.features(levels, box, points)
        if isinstance(self.point, schema.ImplicitPointHead):
            return self.implicit(features, points)
        coarse = sampled(self.vector.reshape(CLASSES, 3, 3), points)
        x = torch.cat((features, coarse))
        for i in range(len(self.point.fc_dims)):
            x = self.layer(f"fc{i + 1}", x).relu()
            x = torch.cat((x, coarse)) if self.point.coarse_pred_each_layer else x
        return self.layer("predictor", x)

    def layer(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"point_head.{name}.weight"], self.tensors[f"point_head.{name}.bias"]
        return weight[:, :, 0] @ x + bias[:, None]

    def implicit(self, features: Tensor, points: Tensor) -> Tensor:
        parts = []
        if self.point.pos_enc_enabled:
            waves = 2 * torch.pi * (2 * points - 1) @ self.tensors["point_head.positional_encoding_gaussian_matrix"]
            parts += [waves.sin().t(), waves.cos().t()]
        x = torch.cat([*parts, *([features] if self.point.image_feature_enabled else [])])
        dims = [len(x), *self.point.fc_dims, 1 if self.point.cls_agnostic_mask else CLASSES]
        weights = self.vector.split([before * after for before, after in pairwise(dims)] + dims[1:])
        for i, (before, after) in enumerate(pairwise(dims)):
            x = weights[i].reshape(after, before) @ x + weights[len(dims) - 1 + i][:, None]
            x = x.relu() if i < len(dims) - 2 else x
        return x


@torch.inference_mode()
@pytest.mark.parametrize("name", HEADS)
def test_equals_definition(name: str) -> None:
    pooler, head = build(HEADS[name])
    levels, boxes, image_index, classes = made(12)
    masks = head(pooler(levels, boxes, image_index), classes)
    side = HEADS[name].side
    assert masks.shape == (12, side, side)
    definition = Definition(HEADS[name], head)
    expected = [
        definition.mask([level[image] for level in levels], box, int(label))
        for box, image, label in zip(boxes, image_index, classes, strict=True)
    ]
    assert (masks - torch.stack(expected)).abs().max() < 1e-3
    assert masks.std() > 0.05


@torch.inference_mode()
@pytest.mark.parametrize("name", HEADS)
def test_no_boxes(name: str) -> None:
    pooler, head = build(HEADS[name])
    levels, boxes, image_index, classes = made(0)
    masks = head(pooler(levels, boxes, image_index), classes)
    assert masks.shape == (0, HEADS[name].side, HEADS[name].side)


def _traced(branch: nn.Module, sample: Any) -> Any:
    return torch.jit.trace(swapped(branch, dict.fromkeys(LEAVES, torch.jit.script)), sample, check_trace=False)


class Branch(nn.Module):
    """Pooler and head, as ROIHeads calls them."""

    def __init__(self, pooler: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.pooler, self.head = pooler, head

    def forward(self, levels: list[Tensor], boxes: Tensor, image_index: Tensor, classes: Tensor) -> Tensor:
        masks: Tensor = self.head(self.pooler(levels, boxes, image_index), classes)
        return masks


@torch.inference_mode()
@pytest.mark.parametrize("capture", [lambda branch, _: torch.jit.script(branch), _traced], ids=["script", "trace"])
@pytest.mark.parametrize("name", HEADS)
def test_captured_with_another_number_of_boxes(name: str, capture: Any) -> None:
    branch = Branch(*build(HEADS[name]))
    captured = capture(branch, made(4))
    for sample in (made(7, images=3), made(1, images=1), made(0)):
        assert torch.allclose(captured(*sample), branch(*sample), atol=1e-5)


@torch.inference_mode()
def test_too_few_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="CONV_DIM is 9, and p2 have 8 channels"):
        point_rend_branch(replace(MASK, coarse=replace(CONV_FC, conv_dim=9)), LEVELS, CLASSES)


def test_most_unsure_of_fewer_cells_than_wanted() -> None:
    uncertainty = torch.tensor([[3.0, 1.0, 2.0], [0.0, -1.0, 5.0]])
    assert most_unsure(uncertainty, 2).tolist() == [[0, 2], [2, 0]]
    assert [sorted(set(row)) for row in most_unsure(uncertainty, 8).tolist()] == [[0, 1, 2]] * 2


def test_cell_points_are_centres() -> None:
    points = cell_points(torch.tensor([[0, 5, 11]]), width=4, height=3)
    assert torch.allclose(points[0], torch.tensor([[1 / 8, 1 / 6], [3 / 8, 3 / 6], [7 / 8, 5 / 6]]))


@torch.inference_mode()
@pytest.mark.parametrize("num_points", [7, 24, 100_000], ids=lambda n: f"{n} points")
@pytest.mark.parametrize("levels", [("p2",), ("p3", "p2")])
def test_semantic_head(levels: tuple[str, ...], num_points: int) -> None:
    """Against a step by hand, on two images; 100,000 points are more than there are cells."""
    coarse = schema.SemSegFPNHead(in_features=("p2", "p3"), num_classes=CLASSES, conv_dims=8, common_stride=4, norm="")
    config = schema.PointRendSemSegHead(
        coarse=coarse, point=replace(POINT, in_features=levels), steps=2, num_points=num_points
    )
    channels = {"p2": 8, "p3": 8}
    head = PointRendSemSegHead(
        config, coarse=SemSegFPNHead(coarse, channels=channels, strides={"p2": 4, "p3": 8}), channels=channels
    ).eval()
    generator = torch.Generator().manual_seed(1)
    for tensor in head.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    maps, _, _, _ = made(3)
    features = dict(zip(("p2", "p3"), maps, strict=True))
    found = head(features)
    assert found.shape == (2, CLASSES, 40, 56)
    coarse_logits = head.coarse_sem_seg_head.layers(features)
    for image in range(2):
        logits = coarse_logits[image]
        for _ in range(2):
            logits = nn.functional.interpolate(logits[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
            best = logits.flatten(1).topk(2, dim=0)[0]
            cells = (best[0] - best[1]).argsort()[:num_points]
            width, height = logits.shape[2], logits.shape[1]
            points = torch.stack(((cells % width + 0.5) / width, (cells // width + 0.5) / height), dim=1)
            there = sampled(coarse_logits[image], points)
            x = torch.cat([*(sampled(features[name][image], points) for name in levels), there])
            for layer in (head.point_head.fc1, head.point_head.fc2):
                x = torch.cat(((layer.weight[:, :, 0] @ x + layer.bias[:, None]).relu(), there))
            predictor = head.point_head.predictor
            logits.flatten(1)[:, cells] = predictor.weight[:, :, 0] @ x + predictor.bias[:, None]
        assert (found[image] - logits).abs().max() < 1e-3
