"""From a config, or config and checkpoint, to a network."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec, Thresholds, sha256
from d2deploy.config.datasets import class_names as dataset_class_names
from d2deploy.config.detectron2 import model_config
from d2deploy.config.schema import ModelConfig
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError, WeightsError
from d2deploy.models.fpn import FPN
from d2deploy.models.rcnn import GeneralizedRCNN
from d2deploy.models.resnet import ResNet
from d2deploy.models.roi_heads import StandardROIHeads
from d2deploy.models.rpn import RPN
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.weights.match import LoadReport, load_weights
from d2deploy.weights.read import read_checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A network with its weights, and what a user of it must know."""

    core: nn.Module
    spec: ModelSpec
    config: ModelConfig
    report: LoadReport
    source: dict[str, str]  # config and weights: file names and sha256
    format: Literal["eager"] = "eager"


def build_model(config: ModelConfig) -> GeneralizedRCNN:
    """The network of `config`, in evaluation mode, on the current default device (torch.device("meta") for none)."""
    resnet = ResNet(config.backbone.resnet, in_channels=len(config.input.pixel_mean))
    if config.backbone.fpn is None:
        raise ConfigError("Only backbones with a feature pyramid (FPN) are supported yet.")
    backbone = FPN(config.backbone.fpn, resnet)
    core = GeneralizedRCNN(
        prepare=PrepareImages(
            mean=config.input.pixel_mean, std=config.input.pixel_std, size_divisor=backbone.size_divisor
        ),
        backbone=backbone,
        proposal_generator=RPN(
            config.rpn,
            channels=config.backbone.fpn.out_channels,
            strides=_strides(backbone, config.rpn.in_features, "MODEL.RPN.IN_FEATURES"),
        ),
        roi_heads=StandardROIHeads(
            config.roi_heads,
            channels=config.backbone.fpn.out_channels,
            strides=_strides(backbone, config.roi_heads.in_features, "MODEL.ROI_HEADS.IN_FEATURES"),
        ),
    )
    return core.eval().requires_grad_(False)


def load_model(
    config_file: str | Path,
    weights: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    class_names: Sequence[str] | None = None,
) -> Model:
    """The network of a detectron2 config with the weights of a checkpoint.

    `weights` None: the file that the config names in MODEL.WEIGHTS. `overrides`: KEY VALUE KEY VALUE ...
    Raises ConfigError and WeightsError.
    """
    config = model_config(read_config(config_file, overrides))
    path = Path(weights or _weights_beside(Path(config_file), config))
    with torch.device("meta"):
        core = build_model(config)
    report = load_weights(core, read_checkpoint(path))
    report.raise_if_bad()
    # Convolutions on a CPU take a sixth less time than in torch's default layout (benchmarks/README.md).
    core.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    names = tuple(class_names) if class_names is not None else dataset_class_names(config.dataset)
    if names and len(names) != config.roi_heads.num_classes:
        if class_names is not None:
            raise ConfigError(
                f"{len(names)} class names were given for a network with {config.roi_heads.num_classes} classes "
                f"(MODEL.ROI_HEADS.NUM_CLASSES)."
            )
        names = ()
    return Model(
        core=core,
        spec=model_spec(config, core, names),
        config=config,
        report=report,
        source={
            "config": Path(config_file).name,
            "config_sha256": sha256(Path(config_file)),
            "overrides": " ".join(map(str, overrides)),
            "weights": path.name,
            "weights_sha256": sha256(path),
        },
    )


def model_spec(config: ModelConfig, core: GeneralizedRCNN, class_names: tuple[str, ...]) -> ModelSpec:
    """Inputs, outputs, pre-processing and thresholds of the network."""
    heads = config.roi_heads
    outputs = [
        TensorSpec(name="boxes", shape=("D", 4), dtype="float32"),
        TensorSpec(name="scores", shape=("D",), dtype="float32"),
        TensorSpec(name="classes", shape=("D",), dtype="int64"),
        TensorSpec(name="image_index", shape=("D",), dtype="int64"),
    ]
    if heads.mask is not None:
        side = heads.mask.pooler.resolution * 2
        outputs.append(TensorSpec(name="mask_probs", shape=("D", side, side), dtype="float32"))
    return ModelSpec(
        meta_architecture=config.meta_architecture,
        inputs=(
            TensorSpec(name="images", shape=("N", len(config.input.pixel_mean), "H", "W"), dtype="float32"),
            TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64"),
        ),
        outputs=tuple(outputs),
        preprocess=Preprocess(
            min_size=config.input.min_size,
            max_size=config.input.max_size,
            channel_order=config.input.channel_order,
            size_divisor=core.prepare.size_divisor,
            pixel_mean=config.input.pixel_mean,
            pixel_std=config.input.pixel_std,
        ),
        thresholds=Thresholds(
            score=heads.score_thresh, nms=heads.nms_thresh, max_detections=heads.detections_per_image
        ),
        num_classes=heads.num_classes,
        class_names=class_names,
    )


def _strides(backbone: FPN, names: Sequence[str], key: str) -> list[int]:
    if unknown := [name for name in names if name not in backbone.out_strides]:
        raise ConfigError(f"{key} names {', '.join(unknown)}; the backbone has {', '.join(backbone.out_strides)}.")
    return [backbone.out_strides[name] for name in names]


def _weights_beside(config_file: Path, config: ModelConfig) -> Path:
    """MODEL.WEIGHTS, relative to the current folder or else to the config's."""
    if not config.weights:
        raise WeightsError("No weights: the config's MODEL.WEIGHTS is empty. Give --weights model_final.pth.")
    path = Path(config.weights).expanduser()
    beside = config_file.parent / path
    return beside if not path.exists() and beside.exists() else path
