"""From a config, or config and checkpoint, to a network."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from d2deploy.artifact import ModelSpec, sha256
from d2deploy.config import schema
from d2deploy.config.model import is_official, read_model_config
from d2deploy.config.schema import ModelConfig
from d2deploy.config.schema.registered import has_own_parts
from d2deploy.errors import WeightsError
from d2deploy.models.backbone import build_backbone, levels_of
from d2deploy.models.fcos import build_fcos
from d2deploy.models.names import named
from d2deploy.models.panoptic_deeplab import build_panoptic_deeplab
from d2deploy.models.panoptic_fpn import build_panoptic_fpn
from d2deploy.models.proposal_network import build_proposal_network
from d2deploy.models.rcnn import build_generalized_rcnn
from d2deploy.models.registered import build_architecture
from d2deploy.models.retinanet import build_retinanet
from d2deploy.models.semantic_segmentor import build_semantic_segmentor
from d2deploy.models.spec import model_spec
from d2deploy.models.tensor_mask import build_tensor_mask
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
    if config.backbone is None:
        return ARCHITECTURES[type(config.architecture)](config.architecture, None, None).eval().requires_grad_(False)
    backbone = build_backbone(config.backbone, in_channels=len(config.input.pixel_mean))
    levels = levels_of(backbone)
    prepare = PrepareImages(
        mean=config.input.pixel_mean,
        std=config.input.pixel_std,
        size_divisor=levels.size_divisor,
        square_size=levels.square_size,
    )
    core = ARCHITECTURES[type(config.architecture)](config.architecture, prepare, backbone)
    return core.eval().requires_grad_(False)


ARCHITECTURES: dict[type, Callable[[Any, Any, Any], nn.Module]] = {
    schema.FCOS: build_fcos,
    schema.GeneralizedRCNN: build_generalized_rcnn,
    schema.PanopticDeepLab: build_panoptic_deeplab,
    schema.PanopticFPN: build_panoptic_fpn,
    schema.ProposalNetwork: build_proposal_network,
    schema.RegisteredArchitecture: build_architecture,
    schema.RetinaNet: build_retinanet,
    schema.SemanticSegmentor: build_semantic_segmentor,
    schema.TensorMask: build_tensor_mask,
}


def load_model(
    config_file: str | Path,
    weights: str | Path | None = None,
    *,
    overrides: Sequence[Any] = (),
    min_size: int | None = None,
    max_size: int | None = None,
    trust_config: bool = False,
    score_thresh: float | None = None,
    nms_thresh: float | None = None,
    max_detections: int | None = None,
    class_names: Sequence[str] | str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Model:
    """The network of a detectron2 config with the weights of a checkpoint.

    `config_file`: a file, or the name of an official model (`d2deploy zoo` lists them). `weights` None: what the config
    names; an address (https://, detectron2://) is downloaded into the cache once, `progress` is told (bytes done, bytes
    in all or None). `overrides`, `min_size`, `max_size`, `trust_config`, thresholds: see read_model_config.
    `class_names`: instead of the data set's: names, or the text that says where they stand (names.py).
    Raises ConfigError and WeightsError.
    """
    config = read_model_config(
        config_file,
        overrides,
        min_size=min_size,
        max_size=max_size,
        trust_config=trust_config,
        score_thresh=score_thresh,
        nms_thresh=nms_thresh,
        max_detections=max_detections,
    )
    path = Path(fetched(str(weights or _weights_beside(Path(config_file), config)), progress=progress))
    with torch.device("cpu" if has_own_parts(config) else "meta"):
        core = build_model(config)
    spec = named(model_spec(config, core), config.dataset, class_names)
    report = load_weights(core, read_checkpoint(path))
    report.raise_if_bad()
    # Convolutions on a CPU take a sixth less time than in torch's default layout (benchmarks/README.md).
    core.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    return Model(
        core=core,
        spec=spec,
        config=config,
        report=report,
        source=_source(config_file, overrides, path),
    )


def _source(config_file: str | Path, overrides: Sequence[Any], weights: Path) -> dict[str, str]:
    """Names and hashes of what a network was made from."""
    official = is_official(config_file)
    return {
        "config": str(config_file) if official else Path(config_file).name,
        **({} if official else {"config_sha256": sha256(Path(config_file))}),
        "overrides": " ".join(map(str, overrides)),
        "weights": weights.name.partition("?")[0],
        "weights_sha256": sha256(Path(str(weights).partition("?")[0])),
    }


def _weights_beside(config_file: Path, config: ModelConfig) -> str | Path:
    """What the config names: an address, or a path relative to the current folder or else to the config's."""
    if not config.weights:
        raise WeightsError("No weights: the config names none (MODEL.WEIGHTS). Give --weights model_final.pth.")
    if is_address(config.weights):
        return config.weights
    path = Path(config.weights).expanduser()
    beside = config_file.parent / path
    return beside if not path.exists() and beside.exists() else path
