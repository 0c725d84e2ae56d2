"""From a config, or config and checkpoint, to a network."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from d2deploy.artifact import ModelSpec, sha256
from d2deploy.config import schema
from d2deploy.config.datasets import class_names as dataset_class_names
from d2deploy.config.node import Node
from d2deploy.config.schema import ModelConfig
from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.config.zoo import config_of, is_zoo_name
from d2deploy.errors import ConfigError, WeightsError
from d2deploy.models.backbone import build_backbone
from d2deploy.models.rcnn import build_rcnn
from d2deploy.models.retinanet import build_retinanet
from d2deploy.models.spec import model_spec
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


def build_model(config: ModelConfig) -> nn.Module:
    """The network of `config`, in evaluation mode, on the current default device (torch.device("meta") for none)."""
    backbone = build_backbone(config.backbone, in_channels=len(config.input.pixel_mean))
    prepare = PrepareImages(
        mean=config.input.pixel_mean,
        std=config.input.pixel_std,
        size_divisor=backbone.size_divisor,
        square_size=backbone.square_size,
    )
    core = ARCHITECTURES[type(config.architecture)](config.architecture, prepare, backbone)
    return core.eval().requires_grad_(False)


ARCHITECTURES: dict[type, Callable[[Any, PrepareImages, Any], nn.Module]] = {
    schema.GeneralizedRCNN: build_rcnn,
    schema.RetinaNet: build_retinanet,
}


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
    return Model(
        core=core,
        spec=model_spec(config, core, _names(config, class_names)),
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


def _names(config: ModelConfig, given: Sequence[str] | None) -> tuple[str, ...]:
    """The classes' names, given or those of the config's dataset; none where these are not as many as the classes."""
    names = tuple(given) if given is not None else dataset_class_names(config.dataset)
    count = config.detections.num_classes if config.detections else 0
    if given is not None and len(names) != count:
        raise ConfigError(f"{len(names)} class names were given for {count} classes (NUM_CLASSES in the config).")
    return names if len(names) == count else ()


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
