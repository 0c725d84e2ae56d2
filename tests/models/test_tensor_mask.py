"""TensorMask against its steps written out one after the other: no levels apart, each window of its own size.

Facts: detectron2 projects/TensorMask/tensormask/arch.py. The windows themselves: tests/ops/test_mask_windows.py.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from d2deploy.config.model import read_model_config
from d2deploy.errors import ConfigError
from d2deploy.models.build import build_model
from d2deploy.models.spec import model_spec
from d2deploy.ops.boxes import decode_boxes
from d2deploy.ops.mask_windows import MaskWindows
from d2deploy.ops.nms import nms_of_labelled
from d2deploy.postprocess import to_instances
from d2deploy.postprocess.masks import paste_masks

NAME = "TensorMask/tensormask_R_50_FPN_1x"
CLASSES, SIZES, TOPK, WEIGHTS = 3, (12, 16), 150, (1.5, 1.5, 0.75, 0.75)
LEVELS = ["p2", "p3", "p4"]
SMALL: dict[str, Any] = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[size * 2**level for size in SIZES] for level in range(3)],
    "MODEL.TENSOR_MASK.IN_FEATURES": LEVELS,
    "MODEL.TENSOR_MASK.NUM_CONVS": 2,
    "MODEL.TENSOR_MASK.NUM_CLASSES": CLASSES,
    "MODEL.TENSOR_MASK.CLS_CHANNELS": 8,
    "MODEL.TENSOR_MASK.BBOX_CHANNELS": 8,
    "MODEL.TENSOR_MASK.MASK_CHANNELS": 8,
    "MODEL.TENSOR_MASK.TOPK_CANDIDATES_TEST": TOPK,
    "TEST.DETECTIONS_PER_IMAGE": 30,
}
FORMS = {
    "bipyramid": {},
    "aligned": {"MODEL.TENSOR_MASK.BIPYRAMID_ON": False},
    "natural": {"MODEL.TENSOR_MASK.BIPYRAMID_ON": False, "MODEL.TENSOR_MASK.ALIGNED_ON": False},
}
INPUT, IMAGE = (75, 90), (120, 100)  # of the network's input, and of the original image


def read(changes: dict[str, Any]) -> Any:
    return read_model_config(NAME, [text for item in (SMALL | changes).items() for text in map(str, item)])


@pytest.fixture(scope="module", params=FORMS)
def case(request: pytest.FixtureRequest) -> tuple[str, Any, list[Tensor], dict[str, Tensor]]:
    """A form of the masks, a small network with random weights, feature levels of noise, and what it finds in them."""
    config = read(FORMS[request.param])
    torch.manual_seed(5)
    core: Any = build_model(config)
    for name, tensor in core.head.named_parameters():
        scale = {"mask_pred_03": 12.0, "mask_pred_04": 12.0, "bbox_pred": 0.3}.get(name.partition(".")[0], 1.4)
        tensor.copy_(torch.randn_like(tensor) * (scale / tensor[0].numel() ** 0.5 if tensor.dim() == 4 else 0.1))
    levels = [torch.randn(1, 16, 24 // n, 24 // n) * n**0.4 for n in (1, 2, 4)]
    names = [tensor.name for tensor in model_spec(config, core).outputs]
    core.backbone = Given(levels)
    outputs = core(torch.rand(1, 3, *INPUT) * 255, torch.tensor([INPUT]))
    return request.param, core, levels, dict(zip(names, outputs, strict=True))


class Given(nn.Module):
    """A backbone that gives what it was given: noise, stronger where there are fewer cells."""

    def __init__(self, levels: list[Tensor]) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(LEVELS, self.levels, strict=True))


def tower(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    for place in (0, 2):
        x = functional.conv2d(x, weights[f"{name}.{place}.weight"], weights[f"{name}.{place}.bias"], padding=1).relu()
    return x


def last(weights: dict[str, Tensor], name: str, x: Tensor, width: int) -> Tensor:
    """A 3x3 convolution's channels, `width` for each anchor: [H*W*A,width]."""
    made = functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
    return made[0].permute(1, 2, 0).reshape(-1, width)


def anchors_and_places(levels: list[Tensor]) -> tuple[Tensor, list[tuple[int, int, int]]]:
    """All anchors, level by level, row by row, and (level, number of the cell, which anchor) of each."""
    boxes, places = [], []
    for level, feature in enumerate(levels):
        for y in range(feature.shape[2]):
            for x in range(feature.shape[3]):
                for which, size in enumerate(SIZES):
                    half, stride = size * 2**level / 2, 4 * 2**level
                    boxes.append([x * stride - half, y * stride - half, x * stride + half, y * stride + half])
                    places.append((level, y * feature.shape[3] + x, which))
    return torch.tensor(boxes), places


def best(weights: dict[str, Tensor], levels: list[Tensor], anchors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes, scores, classes and anchor numbers of the detections: all levels in one list from the start."""
    scores = torch.cat([last(weights, "cls_score", tower(weights, "cls_subnet", x), CLASSES) for x in levels]).sigmoid()
    deltas = torch.cat([last(weights, "bbox_pred", tower(weights, "bbox_subnet", x), 4) for x in levels])
    order = scores.flatten().argsort(descending=True)[:TOPK]
    order = order[scores.flatten()[order] > 0.05]
    pick, classes = order // CLASSES, order % CLASSES
    boxes, found = decode_boxes(deltas[pick], anchors[pick], WEIGHTS), scores.flatten()[order]
    kept = nms_of_labelled(boxes[None], found[None], classes[None], iou_threshold=0.5, max_out=30)[0]
    kept = kept[kept >= 0]
    return boxes[kept], found[kept], classes[kept], pick[kept]


def window(form: str, weights: dict[str, Tensor], levels: list[Tensor], place: tuple[int, int, int]) -> Tensor:
    """The probabilities of one anchor's mask, at its own size."""
    level, cell, which = place
    x = tower(weights, "mask_subnet", levels[level])
    if form == "bipyramid":
        finest = tower(weights, "mask_subnet", levels[0])
        enlarged = functional.interpolate(x, scale_factor=2.0**level, mode="bilinear", align_corners=False)
        x = enlarged[:, :, : finest.shape[2], : finest.shape[3]] + finest
        x = functional.conv2d(x, weights["mask_fuse.0.weight"], weights["mask_fuse.0.bias"], padding=1).relu()
    name = f"mask_pred_{SIZES[which] // 4:02d}"
    maps = functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
    read = MaskWindows(factor=2**level if form == "bipyramid" else 1, is_aligned=form != "natural")
    logits: Tensor = read(maps, levels[level], (torch.tensor([0]), torch.tensor([cell])), torch.tensor([True]))
    return logits.sigmoid()


def test_detections_are_the_best_of_all_levels(case: Any) -> None:
    _, core, levels, outputs = case
    anchors, places = anchors_and_places(levels)
    boxes, scores, classes, pick = best(core.head.state_dict(), levels, anchors)
    found_on = {(level, which) for level, _, which in (places[i] for i in pick.tolist())}
    assert len(boxes) > 10 and len(found_on) == 6  # each anchor of each level
    assert torch.equal(outputs["classes"], classes)
    torch.testing.assert_close(outputs["boxes"], boxes, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(outputs["scores"], scores, atol=1e-5, rtol=0)


def test_pasted_masks_are_each_window_in_its_own_anchor(case: Any) -> None:
    """detectron2 scales the anchor, does not clip it, and pastes the window there, whatever the box."""
    form, core, levels, outputs = case
    arrays = {name: tensor.numpy() for name, tensor in outputs.items()}
    found = to_instances(arrays, input_size=INPUT, image_size=IMAGE)
    weights = core.head.state_dict()
    anchors, places = anchors_and_places(levels)
    _, scores, _, pick = best(weights, levels, anchors)
    scale = np.array([IMAGE[1] / INPUT[1], IMAGE[0] / INPUT[0]] * 2, np.float32)
    assert found.pred_masks is not None and len(found) > 10
    different, pixels = 0, 0
    for score, mask in zip(found.scores, found.pred_masks, strict=True):
        number = int(pick[int((scores - float(score)).abs().argmin())])
        probs = window(form, weights, levels, places[number]).numpy()
        (theirs,) = paste_masks(probs, anchors[number : number + 1].numpy() * scale, IMAGE)
        different, pixels = different + int((mask != theirs).sum()), pixels + int(theirs.sum())
    assert pixels > 1000
    assert different <= 3  # values within a rounding of one half


def test_a_window_fills_its_part_of_the_box(case: Any) -> None:
    form, _, _, outputs = case
    largest = outputs["mask_probs"].shape[1]
    assert largest == (16 if form == "bipyramid" else 4)
    sides = (outputs["mask_boxes"][:, 2:] - outputs["mask_boxes"][:, :2]) / largest
    cells = (outputs["mask_probs"] > 0).any(dim=1).sum(dim=1)
    assert len(set(cells.tolist())) > (3 if form == "bipyramid" else 1)
    if form == "bipyramid":  # a window's cells are those of the first level
        assert torch.equal(sides, torch.full_like(sides, 4.0))


def test_without_masks() -> None:
    config = read({"MODEL.MASK_ON": False})
    core = build_model(config)
    assert not any(name.startswith("head.mask") for name in core.state_dict())
    assert [tensor.name for tensor in model_spec(config, core).outputs] == ["boxes", "scores", "classes", "image_index"]
    assert len(core(torch.zeros(1, 3, *INPUT), torch.tensor([INPUT]))) == 4


def test_the_official_models_names_and_shapes() -> None:
    """As TensorMaskHead of arch.py registers them."""
    with torch.device("meta"):
        core: Any = build_model(read_model_config(NAME))
    wide = {"cls_subnet": 256, "bbox_subnet": 128, "mask_subnet": 128}
    expected: dict[str, tuple[int, ...]] = {
        f"{tower}.{2 * i}.weight": (width, width if i else 256, 3, 3) for tower, width in wide.items() for i in range(4)
    }
    expected |= {"cls_score.weight": (160, 256, 3, 3), "bbox_pred.weight": (8, 128, 3, 3)}
    expected |= {"mask_pred_11.weight": (121, 128, 1, 1), "mask_pred_15.weight": (225, 128, 1, 1)}
    expected |= {"mask_fuse.0.weight": (128, 128, 3, 3)}
    expected |= {name.replace("weight", "bias"): shape[:1] for name, shape in expected.items()}
    assert {name: tuple(tensor.shape) for name, tensor in core.head.state_dict().items()} == expected
    assert read_model_config(NAME).architecture.mask_side == 480


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "natural bipyramid": ({"MODEL.TENSOR_MASK.ALIGNED_ON": False}, "BIPYRAMID_ON is True; it must be false where"),
    "two ratios": ({"MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[1.0, 2.0]]}, "ASPECT_RATIOS .* one ratio"),
    "a gap in the levels": (
        {"MODEL.TENSOR_MASK.IN_FEATURES": ["p2", "p3", "p5"]},
        r"IN_FEATURES .* follow each other, from fine to coarse",
    ),
    "smaller than a cell": ({"MODEL.ANCHOR_GENERATOR.SIZES": [[3, 8]]}, "SIZES .* at least 4 on the first level"),
    "no pyramid": ({"MODEL.BACKBONE.NAME": "build_resnet_backbone"}, "BACKBONE.NAME is 'build_resnet_backbone'"),
    "no channels": ({"MODEL.TENSOR_MASK.MASK_CHANNELS": 0}, "MASK_CHANNELS is 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    changes, words = REFUSED[name]
    with pytest.raises(ConfigError, match=words):
        read(changes)
