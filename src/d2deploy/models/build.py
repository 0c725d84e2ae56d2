"""From a config, or config and checkpoint, to a network."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec, Thresholds, sha256
from d2deploy.config import schema
from d2deploy.config.datasets import class_names as dataset_class_names
from d2deploy.config.detectron2 import model_config
from d2deploy.config.node import Node
from d2deploy.config.schema import ModelConfig
from d2deploy.config.yaml import read_config
from d2deploy.config.zoo import config_of, is_zoo_name
from d2deploy.errors import ConfigError, WeightsError
from d2deploy.models.fpn import FPN
from d2deploy.models.rcnn import GeneralizedRCNN
from d2deploy.models.res5_roi_heads import Res5ROIHeads
from d2deploy.models.resnet import ResNet
from d2deploy.models.retinanet import RetinaNet
from d2deploy.models.roi_heads import ROIHeads
from d2deploy.models.rpn import RPN
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.weights.catalog import is_address
from d2deploy.weights.download import fetched
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


def build_model(config: ModelConfig) -> GeneralizedRCNN | RetinaNet:
    """The network of `config`, in evaluation mode, on the current default device (torch.device("meta") for none)."""
    resnet = ResNet(config.backbone.resnet, in_channels=len(config.input.pixel_mean))
    backbone = FPN(config.backbone.fpn, resnet) if config.backbone.fpn is not None else resnet
    prepare = PrepareImages(
        mean=config.input.pixel_mean, std=config.input.pixel_std, size_divisor=backbone.size_divisor
    )
    return META_ARCHITECTURES[config.meta_architecture](config, prepare, backbone).eval().requires_grad_(False)


def _generalized_rcnn(config: ModelConfig, prepare: PrepareImages, backbone: FPN | ResNet) -> GeneralizedRCNN:
    assert config.rpn is not None and config.roi_heads is not None
    heads: dict[type, type[ROIHeads] | type[Res5ROIHeads]] = {
        schema.ROIHeads: ROIHeads,
        schema.Res5ROIHeads: Res5ROIHeads,
    }
    return GeneralizedRCNN(
        prepare=prepare,
        backbone=backbone,
        proposal_generator=RPN(config.rpn, **_level_facts(backbone, config.rpn.in_features)),
        roi_heads=heads[type(config.roi_heads)](
            config.roi_heads,  # type: ignore[arg-type]  # the table pairs them
            **_level_facts(backbone, config.roi_heads.in_features),
        ),
    )


def _retinanet(config: ModelConfig, prepare: PrepareImages, backbone: FPN | ResNet) -> RetinaNet:
    assert config.retinanet is not None and isinstance(backbone, FPN)
    strides = [backbone.out_strides[name] for name in config.retinanet.in_features]
    return RetinaNet(config.retinanet, prepare=prepare, backbone=backbone, strides=strides)


META_ARCHITECTURES: dict[str, Callable[[ModelConfig, PrepareImages, FPN | ResNet], GeneralizedRCNN | RetinaNet]] = {
    "GeneralizedRCNN": _generalized_rcnn,
    "RetinaNet": _retinanet,
}


def _level_facts(backbone: FPN | ResNet, names: Sequence[str]) -> dict[str, Any]:
    """Channels and strides (input pixels per cell) of feature levels."""
    return {"channels": backbone.out_channels[names[0]], "strides": [backbone.out_strides[name] for name in names]}


def load_model(
    config_file: str | Path,
    weights: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    class_names: Sequence[str] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Model:
    """The network of a detectron2 config with the weights of a checkpoint.

    `config_file`: a file, or the name of an official model (`d2deploy zoo` lists them). `weights` None: what the config
    names in MODEL.WEIGHTS; an address (https://, detectron2://) is downloaded into the cache once, `progress` is told
    (bytes done, bytes in all or None). `overrides`: KEY VALUE KEY VALUE ... Raises ConfigError and WeightsError.
    """
    config = model_config(_read(config_file, overrides))
    path = Path(fetched(str(weights or _weights_beside(Path(config_file), config)), progress=progress))
    with torch.device("meta"):
        core = build_model(config)
    report = load_weights(core, read_checkpoint(path))
    report.raise_if_bad()
    # Convolutions on a CPU take a sixth less time than in torch's default layout (benchmarks/README.md).
    core.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    names = tuple(class_names) if class_names is not None else dataset_class_names(config.dataset)
    if names and len(names) != config.detections.num_classes:
        if class_names is not None:
            raise ConfigError(
                f"{len(names)} class names were given for a network with {config.detections.num_classes} classes "
                f"(NUM_CLASSES in the config)."
            )
        names = ()
    return Model(
        core=core,
        spec=model_spec(config, core, names),
        config=config,
        report=report,
        source={
            "config": str(config_file) if _is_zoo(config_file) else Path(config_file).name,
            **({} if _is_zoo(config_file) else {"config_sha256": sha256(Path(config_file))}),
            "overrides": " ".join(map(str, overrides)),
            "weights": path.name.partition("?")[0],
            "weights_sha256": sha256(Path(str(path).partition("?")[0])),
        },
    )


def model_spec(config: ModelConfig, core: GeneralizedRCNN | RetinaNet, class_names: tuple[str, ...]) -> ModelSpec:
    """Inputs, outputs, pre-processing and thresholds of the network."""
    detections = config.detections
    outputs = [
        TensorSpec(name="boxes", shape=("D", 4), dtype="float32"),
        TensorSpec(name="scores", shape=("D",), dtype="float32"),
        TensorSpec(name="classes", shape=("D",), dtype="int64"),
        TensorSpec(name="image_index", shape=("D",), dtype="int64"),
    ]
    outputs += _head_outputs(config.roi_heads)
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
            score=detections.score_thresh, nms=detections.nms_thresh, max_detections=detections.detections_per_image
        ),
        num_classes=detections.num_classes,
        class_names=class_names,
        keypoint_sigmas=_keypoint_sigmas(config.roi_heads),
    )


def _keypoint_sigmas(heads: schema.ROIHeads | schema.Res5ROIHeads | None) -> tuple[float, ...]:
    if isinstance(heads, schema.ROIHeads) and heads.keypoint is not None:
        return heads.keypoint.oks_sigmas
    return ()


def _head_outputs(heads: schema.ROIHeads | schema.Res5ROIHeads | None) -> list[TensorSpec]:
    """What the mask and keypoint heads add."""
    outputs = []
    if heads is not None and heads.mask is not None:
        # res5 halves what was pooled, the mask head doubles it.
        side = heads.pooler.resolution if isinstance(heads, schema.Res5ROIHeads) else heads.mask.pooler.resolution * 2
        outputs.append(TensorSpec(name="mask_probs", shape=("D", side, side), dtype="float32"))
    if isinstance(heads, schema.ROIHeads) and heads.keypoint is not None:
        side = heads.keypoint.pooler.resolution * 4
        shape = ("D", heads.keypoint.num_keypoints, side, side)
        outputs.append(TensorSpec(name="keypoint_heatmaps", shape=shape, dtype="float32"))
    return outputs


def _read(config_file: str | Path, overrides: Sequence[str]) -> Node:
    """The config in a file, or of the official model of that name."""
    return config_of(str(config_file), overrides) if _is_zoo(config_file) else read_config(config_file, overrides)


def _is_zoo(config_file: str | Path) -> bool:
    """Whether it names an official model, perhaps misspelt, and no file."""
    return not Path(config_file).exists() and (is_zoo_name(str(config_file)) or Path(config_file).suffix == "")


def _weights_beside(config_file: Path, config: ModelConfig) -> str | Path:
    """MODEL.WEIGHTS: an address, or a path relative to the current folder or else to the config's."""
    if not config.weights:
        raise WeightsError("No weights: the config's MODEL.WEIGHTS is empty. Give --weights model_final.pth.")
    if is_address(config.weights):
        return config.weights
    path = Path(config.weights).expanduser()
    beside = config_file.parent / path
    return beside if not path.exists() and beside.exists() else path
