"""Mistakes that a config shows by itself: numbers that fit no official model, or that contradict each other.

Facts: which weights go with which pixel statistics and STRIDE_IN_1X1, from detectron2's configs and MODEL_ZOO.md.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from d2deploy.config import schema
from d2deploy.config.datasets import class_names
from d2deploy.config.schema import ModelConfig

WRONG, ODD, NOTE = "wrong", "odd", "note"

# Pixel statistics of ImageNet, in 0..255, as detectron2's configs have them: blue, green, red.
_MEAN_BGR = (103.53, 116.28, 123.675)
_STD_BGR = (57.375, 57.12, 58.395)
_ONES = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Finding:
    """`level`: "wrong" (it cannot work), "odd" (it runs, and the numbers may be bad) or "note"."""

    level: str
    text: str


def smells(config: ModelConfig) -> Iterator[Finding]:
    """Mistakes that a config shows by itself."""
    yield from _pixel_smells(config.input)
    yield from _stride_smells(config)
    names, detections = class_names(config.dataset), config.detections
    if names and detections and len(names) != detections.num_classes:
        yield Finding(
            ODD,
            f"DATASETS.TEST {config.dataset} has {len(names)} classes, the network {detections.num_classes}: class "
            f"names are left out. Give --class-names, or check NUM_CLASSES",
        )
    if detections and detections.score_thresh >= 0.3:
        yield Finding(
            ODD,
            f"the score threshold is {detections.score_thresh:g}: AP is measured with 0.05; what is below it "
            f"never leaves the exported network",
        )


def _pixel_smells(rule: schema.Input) -> Iterator[Finding]:
    mean, std, order = rule.pixel_mean, rule.pixel_std, rule.channel_order
    if len(mean) != 3:
        return
    if max(mean) <= 1.5:
        yield Finding(WRONG, f"the pixel mean {mean} is for pixels of 0 to 1; here they are 0 to 255: multiply by 255")
        return
    if max(std) < 1:
        yield Finding(WRONG, f"the pixel std {std} is for pixels of 0 to 1; here they are 0 to 255: multiply by 255")
    expected = _MEAN_BGR if order == "BGR" else _MEAN_BGR[::-1]
    if _near(mean, expected[::-1]):
        other = "RGB" if order == "BGR" else "BGR"
        yield Finding(ODD, f"the pixel mean {mean} is in the order {other}, INPUT.FORMAT is {order}: one of the two")
    expected = _STD_BGR if order == "BGR" else _STD_BGR[::-1]
    if not _near(std, _ONES) and not _near(std, expected) and _near(std, expected[::-1]):
        yield Finding(ODD, f"the pixel std {std} is in the other order than INPUT.FORMAT {order}")
    if order == "RGB" and _near(std, _ONES):
        yield Finding(
            ODD,
            "RGB with a pixel std of 1: detectron2's RGB weights (torchvision) are trained with std "
            "58.395, 57.12, 57.375",
        )


def _stride_smells(config: ModelConfig) -> Iterator[Finding]:
    for resnet in (part for part in nodes(config) if isinstance(part, schema.ResNet) and part.depth >= 50):
        is_ones = _near(config.input.pixel_std, _ONES)
        if resnet.stride_in_1x1 and resnet.num_groups > 1:
            yield Finding(ODD, "STRIDE_IN_1X1 is true with a ResNeXt: every official one is trained with false")
        elif resnet.stride_in_1x1 and (config.input.channel_order == "RGB" or not is_ones):
            yield Finding(
                ODD,
                "STRIDE_IN_1X1 is true and the pixel std is not 1: only the MSRA weights (BGR, std 1) have the "
                "stride in the 1x1 convolutions; the wrong choice loads without a word",
            )
        elif not resnet.stride_in_1x1 and "MSRA" in config.weights:
            yield Finding(ODD, f"STRIDE_IN_1X1 is false, and {config.weights} is trained with true")


def _near(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(abs(x - y) < 0.5 for x, y in zip(a, b, strict=True))


def author_smells(config: ModelConfig, author: str) -> Iterator[Finding]:
    """Mistakes that show when the checkpoint says who made it."""
    if author != "torchvision":
        return
    for resnet in (part for part in nodes(config) if isinstance(part, schema.ResNet)):
        if resnet.stride_in_1x1 or config.input.channel_order != "RGB" or _near(config.input.pixel_std, _ONES):
            yield Finding(
                ODD,
                "the weights are torchvision's: they need INPUT.FORMAT RGB, STRIDE_IN_1X1 false, mean 123.675, 116.28, "
                "103.53 and std 58.395, 57.12, 57.375",
            )


def nodes(part: Any) -> Iterator[Any]:
    """The dataclasses that `part` is made of, from the outside in; each backbone once."""
    yield part
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value) and not (isinstance(part, schema.Res5ROIHeads) and field.name == "resnet"):
            yield from nodes(value)
