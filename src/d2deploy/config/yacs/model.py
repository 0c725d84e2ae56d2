"""The entry: a YAML config to a schema.ModelConfig.

The files of this room are the only ones that know key names and what can be built from them. What cannot is an error: a
key that changes the network is never passed over. Facts: detectron2 at 02b5c4e2, modeling/.
"""

from collections.abc import Callable
from typing import NamedTuple

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import backbone, supported_backbone
from d2deploy.config.yacs.checks import Supported, reals, refused, text, unsupported, whole
from d2deploy.config.yacs.deeplab import panoptic_deeplab, supported_panoptic_deeplab
from d2deploy.config.yacs.dense import retinanet, supported_retinanet
from d2deploy.config.yacs.rcnn import (
    generalized_rcnn,
    proposal_network,
    supported_generalized_rcnn,
    supported_proposal_network,
)
from d2deploy.config.yacs.segmentation import (
    panoptic_fpn,
    semantic_segmentor,
    supported_panoptic,
    supported_semantic,
)
from d2deploy.config.yacs.tensor_mask import supported_tensor_mask, tensor_mask
from d2deploy.errors import ConfigError
from d2deploy.registry import META_ARCH_REGISTRY


class _Row(NamedTuple):
    """One meta-architecture."""

    read: Callable[[Node], schema.Architecture]
    supported: Callable[[Node], Supported]  # what the keys that it reads may say, beside the backbone's


_ARCHITECTURES = {
    "GeneralizedRCNN": _Row(generalized_rcnn, supported_generalized_rcnn),
    "PanopticDeepLab": _Row(panoptic_deeplab, supported_panoptic_deeplab),
    "PanopticFPN": _Row(panoptic_fpn, supported_panoptic),
    "ProposalNetwork": _Row(proposal_network, supported_proposal_network),
    "RetinaNet": _Row(retinanet, supported_retinanet),
    "SemanticSegmentor": _Row(semantic_segmentor, supported_semantic),
    "TensorMask": _Row(tensor_mask, supported_tensor_mask),
}


def model_config(cfg: Node) -> schema.ModelConfig:
    """What to build. Raises ConfigError: a part that is not supported yet (all such at once), or a value out of range.

    TEST.AUG is passed over: detectron2's own predictor does not use it either. So are DEVICE, SEED and the like, which
    say where to compute, not what.
    """
    own = cfg.MODEL.META_ARCHITECTURE in META_ARCH_REGISTRY
    if not own:
        _check_supported(cfg)
    return schema.ModelConfig(
        input=_input(cfg),
        backbone=None if own else backbone(cfg),
        architecture=_own_architecture(cfg) if own else _ARCHITECTURES[cfg.MODEL.META_ARCHITECTURE].read(cfg),
        weights=text(cfg, "MODEL.WEIGHTS"),
        dataset=_dataset(cfg),
    )


def _own_architecture(cfg: Node) -> schema.RegisteredArchitecture:
    return schema.RegisteredArchitecture(part=schema.Registered(name=cfg.MODEL.META_ARCHITECTURE, cfg=cfg))


def _check_supported(cfg: Node) -> None:
    # Another meta-architecture reads other keys: the rest would only be noise.
    missing = unsupported(cfg, {"MODEL.META_ARCHITECTURE": tuple(_ARCHITECTURES)})
    if not missing:
        wanted = _ARCHITECTURES[cfg.MODEL.META_ARCHITECTURE].supported(cfg)
        missing = unsupported(cfg, {"INPUT.FORMAT": ("BGR", "RGB"), **supported_backbone(cfg), **wanted})
    if missing:
        raise ConfigError("The config asks for what is not supported yet:\n" + "\n".join(missing))


def _input(cfg: Node) -> schema.Input:
    return schema.Input(
        min_size=whole(cfg, "INPUT.MIN_SIZE_TEST", least=0),
        max_size=whole(cfg, "INPUT.MAX_SIZE_TEST"),
        channel_order=cfg.INPUT.FORMAT,
        pixel_mean=reals(cfg, "MODEL.PIXEL_MEAN", count=3),
        pixel_std=reals(cfg, "MODEL.PIXEL_STD", count=3, positive=True),
    )


def _dataset(cfg: Node) -> str:
    test = cfg.DATASETS.TEST
    if test is None or any(not isinstance(name, str) for name in test):
        raise refused(cfg, "DATASETS.TEST", "a list of dataset names")
    return test[0] if test else ""
