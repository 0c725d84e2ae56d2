"""What a config and a checkpoint are, and what is likely wrong with them: without running the network."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from d2deploy.config import schema
from d2deploy.config.datasets import class_names
from d2deploy.config.schema import ModelConfig
from d2deploy.errors import WeightsError
from d2deploy.workflows.evidence import Shapes, contradictions

if TYPE_CHECKING:
    from d2deploy.weights.read import Checkpoint

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


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found. `str` is what the command line prints."""

    rows: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong; odd things may be."""
        return all(finding.level != WRONG for finding in self.findings)

    def __str__(self) -> str:
        table = tabulate(self.rows, tablefmt="plain", disable_numparse=True)
        lines = [f"{finding.level:>5}  {finding.text}" for finding in self.findings]
        return "\n\n".join([table, "\n".join(lines or [" fine  nothing looks wrong"])])


def diagnose(
    config_file: str | Path, weights: str | Path | None = None, *, overrides: Sequence[str] = (), **reading: Any
) -> Diagnosis:
    """What `config_file` describes, and what seems wrong with it and with the checkpoint `weights`.

    The network is built without memory for its weights; only an address is downloaded, and only if it was before.
    `reading`: load_model's arguments about reading the config. Raises ConfigError where the config cannot be read.
    """
    from d2deploy.config.model import read_model_config

    config = read_model_config(config_file, overrides, **reading)
    findings = list(_smells(config))
    rows = _family(config)
    if weights is None:
        findings.append(Finding(NOTE, "no checkpoint was looked at: give it as the second argument"))
    else:
        weights_rows, weights_findings = _checkpoint(config, weights)
        rows += weights_rows
        findings += weights_findings
    order = [WRONG, ODD, NOTE]
    return Diagnosis(rows=tuple(rows), findings=tuple(sorted(findings, key=lambda f: order.index(f.level))))


def _family(config: ModelConfig) -> list[tuple[str, str]]:
    from d2deploy.backends import FORMATS

    rule = config.input
    resize = f"shorter edge {rule.min_size}, longer at most {rule.max_size}" if rule.min_size else "none"
    detections = config.detections
    rows = [
        ("model", f"{config.meta_architecture}: {', '.join(_parts(config))}"),
        ("input", f"{rule.channel_order}, mean {rule.pixel_mean}, std {rule.pixel_std}; resizing: {resize}"),
    ]
    if detections:
        names = class_names(config.dataset)
        known = f"the names of {config.dataset}" if len(names) == detections.num_classes else "names unknown"
        rows.append(("classes", f"{detections.num_classes}, {known}"))
        rows.append(
            (
                "kept",
                f"score > {detections.score_thresh:g}, NMS at {detections.nms_thresh:g}, "
                f"at most {detections.detections_per_image}",
            )
        )
    return [*rows, *((f"to {name}", ", ".join(row.methods)) for name, row in FORMATS.items())]


def _parts(config: ModelConfig) -> Iterator[str]:
    """What the network is made of, in words."""
    for part in _nodes(config):
        if isinstance(part, schema.Registered):
            yield f"own part {part.name}"
        elif isinstance(part, schema.ResNet):
            yield f"{'ResNeXt' if part.num_groups > 1 else 'ResNet'}-{part.depth}"
            if any(part.deform_on_per_stage):
                yield f"deformable convolution {'v2' if part.deform_modulated else 'v1'}"
        elif isinstance(part, schema.ROIHeads):
            yield f"cascade of {len(part.cascade)}" if part.cascade else "one box head"
            yield from (f"{name} head" for name in ("mask", "keypoint") if getattr(part, name) is not None)
        elif isinstance(part, schema.Res5ROIHeads):
            yield "res5 as box head (C4)"
            if part.mask is not None:
                yield "mask head"
        elif not isinstance(part, _UNTOLD):
            yield type(part).__name__


_UNTOLD = (
    *(schema.ModelConfig, schema.Input, schema.Anchors, schema.Detections, schema.Pooler, schema.BoxHead),
    *(schema.MaskHead, schema.KeypointHead, schema.GeneralizedRCNN, schema.PanopticCombine),
)


def _nodes(part: Any) -> Iterator[Any]:
    """The dataclasses that `part` is made of, from the outside in; each backbone once."""
    yield part
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value) and not (isinstance(part, schema.Res5ROIHeads) and field.name == "resnet"):
            yield from _nodes(value)


def _smells(config: ModelConfig) -> Iterator[Finding]:
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
    if "ImageNetPretrained" in config.weights:
        yield Finding(
            ODD,
            f"the config's weights, {config.weights}, are those that training began with. Give the trained ones "
            f"(model_final.pth)",
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
    for resnet in (part for part in _nodes(config) if isinstance(part, schema.ResNet) and part.depth >= 50):
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


def _checkpoint(config: ModelConfig, weights: str | Path) -> tuple[list[tuple[str, str]], list[Finding]]:
    """What the checkpoint is, and how it fits the network of `config`."""
    import torch  # noqa: TID251 - the network is built below, which needs it

    from d2deploy.models.build import build_model
    from d2deploy.weights.download import fetched
    from d2deploy.weights.match import load_weights
    from d2deploy.weights.read import read_checkpoint

    checkpoint = read_checkpoint(Path(fetched(str(weights))))
    with torch.device("meta"):
        core = build_model(config)
    rows = [("checkpoint", _described(checkpoint))]
    findings = [
        Finding(
            WRONG, f"{fact.name}: {ours} in the config, {theirs} in the checkpoint: -o {fact.key} {_literal(theirs)}"
        )
        for fact, ours, theirs in contradictions(config, _shapes(checkpoint))
    ]
    try:
        report = load_weights(core, checkpoint)
        rows.append(("its tensors", str(report).partition(": ")[2].partition("\n")[0]))
        report.raise_if_bad()
    except WeightsError as error:
        # Where a contradiction explains it, the list of tensors would only be noise.
        findings += [] if findings else [Finding(WRONG, str(error))]
    return rows, [*findings, *_author_smells(config, checkpoint)]


def _described(checkpoint: "Checkpoint") -> str:
    count = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    author = f", by {checkpoint.author}" if checkpoint.author else ""
    return f"{checkpoint.path}: {len(checkpoint.tensors)} tensors, {count / 1e6:.1f} million numbers{author}"


def _shapes(checkpoint: "Checkpoint") -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}


def _literal(value: Any) -> str:
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return f'"{text}"' if " " in text else text


def _author_smells(config: ModelConfig, checkpoint: "Checkpoint") -> Iterator[Finding]:
    if checkpoint.author != "torchvision":
        return
    for resnet in (part for part in _nodes(config) if isinstance(part, schema.ResNet)):
        if resnet.stride_in_1x1 or config.input.channel_order != "RGB" or _near(config.input.pixel_std, _ONES):
            yield Finding(
                ODD,
                "the weights are torchvision's: they need INPUT.FORMAT RGB, STRIDE_IN_1X1 false, mean 123.675, 116.28, "
                "103.53 and std 58.395, 57.12, 57.375",
            )
