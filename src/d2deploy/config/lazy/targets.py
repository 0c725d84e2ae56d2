"""Which classes of detectron2 a LazyConfig may name, and which of them only training needs.

Facts: where detectron2 at 02b5c4e2 defines each (modeling/, layers/, data/, solver/). A config may name a class by its
own module or by any package above that hands it on: detectron2.modeling.backbone.fpn.FPN, detectron2.modeling.FPN.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from d2deploy.config.lazy.node import MAX_VALUES, Call, LazyNode
from d2deploy.config.lazy.values import Budget, Symbol
from d2deploy.errors import ConfigError, UnknownKey

_MODULES: dict[str, tuple[str, ...]] = {
    "detectron2.modeling.meta_arch.rcnn": ("GeneralizedRCNN", "ProposalNetwork"),
    "detectron2.modeling.meta_arch.retinanet": ("RetinaNet", "RetinaNetHead"),
    "detectron2.modeling.meta_arch.fcos": ("FCOS", "FCOSHead"),
    "detectron2.modeling.meta_arch.panoptic_fpn": ("PanopticFPN",),
    "detectron2.modeling.meta_arch.semantic_seg": ("SemanticSegmentor", "SemSegFPNHead"),
    "detectron2.modeling.backbone.resnet": (
        *("ResNet", "ResNet.make_default_stages", "ResNet.make_stage", "make_stage"),
        *("BasicStem", "BasicBlock", "BottleneckBlock", "DeformBottleneckBlock"),
    ),
    "detectron2.modeling.backbone.fpn": ("FPN", "LastLevelMaxPool", "LastLevelP6P7"),
    "detectron2.modeling.backbone.regnet": (
        *("RegNet", "AnyNet", "SimpleStem", "ResStem", "VanillaBlock", "ResBasicBlock", "ResBottleneckBlock"),
    ),
    "detectron2.modeling.backbone.vit": ("ViT", "SimpleFeaturePyramid"),
    "detectron2.modeling.backbone.mvit": ("MViT",),
    "detectron2.modeling.backbone.swin": ("SwinTransformer",),
    "detectron2.modeling.proposal_generator.rpn": ("RPN", "StandardRPNHead"),
    "detectron2.modeling.proposal_generator.rrpn": ("RRPN",),
    "detectron2.modeling.anchor_generator": ("DefaultAnchorGenerator", "RotatedAnchorGenerator"),
    "detectron2.modeling.box_regression": (*("Box2BoxTransform", "Box2BoxTransformRotated", "Box2BoxTransformLinear"),),
    "detectron2.modeling.poolers": ("ROIPooler",),
    "detectron2.modeling.roi_heads.roi_heads": ("StandardROIHeads", "Res5ROIHeads"),
    "detectron2.modeling.roi_heads.cascade_rcnn": ("CascadeROIHeads",),
    "detectron2.modeling.roi_heads.rotated_fast_rcnn": ("RROIHeads", "RotatedFastRCNNOutputLayers"),
    "detectron2.modeling.roi_heads.box_head": ("FastRCNNConvFCHead",),
    "detectron2.modeling.roi_heads.fast_rcnn": ("FastRCNNOutputLayers",),
    "detectron2.modeling.roi_heads.mask_head": ("MaskRCNNConvUpsampleHead",),
    "detectron2.modeling.roi_heads.keypoint_head": ("KRCNNConvDeconvUpsampleHead",),
    "detectron2.layers.shape_spec": ("ShapeSpec",),
    "detectron2.layers.wrappers": ("Conv2d",),
    "detectron2.layers.batch_norm": ("FrozenBatchNorm2d", "NaiveSyncBatchNorm", "LayerNorm", "get_norm"),
    "torch.nn.modules.normalization": ("LayerNorm", "GroupNorm"),
    "torch.nn.modules.batchnorm": ("BatchNorm2d", "SyncBatchNorm"),
    "torch.nn.modules.activation": ("ReLU", "GELU", "SiLU"),
    "detectron2.data.build": ("build_detection_test_loader", "get_detection_dataset_dicts"),
    "detectron2.data.dataset_mapper": ("DatasetMapper",),
    "detectron2.data.transforms.augmentation_impl": ("ResizeShortestEdge", "Resize", "FixedSizeCrop"),
}
# Full name of where it is defined -> the name that d2deploy's own tables use; torch's keep theirs apart.
ALLOWED_TARGETS: dict[str, str] = {
    f"{module}.{name}": f"torch.{name}" if module.startswith("torch.") else name
    for module, names in _MODULES.items()
    for name in names
}
# What only training or evaluation calls: nothing that a prediction depends on. A name, or a package with all in it.
TRAINING_TARGETS = (
    "detectron2.modeling.matcher.Matcher",
    "detectron2.modeling.sampling",
    "detectron2.modeling.backbone.vit.get_vit_lr_decay_rate",
    "detectron2.data",
    "detectron2.evaluation",
    "detectron2.solver",
    "detectron2.engine",
    "fvcore.common.param_scheduler",
    "torch.optim",
)


def short_name(target: str) -> str | None:
    """Our name of an allowed target, such as "FPN"; "" for one that only training needs; None for one unknown."""
    full = _full_name(target)
    if full is not None:
        return ALLOWED_TARGETS[full]
    return "" if _is_training_only(target) else None


def check_targets(node: LazyNode, name: str = "") -> None:
    """Raises UnknownKey, which names all targets at once that are neither allowed nor about training, with the nearest.

    `node` is what is going to be built, such as config.model; `name` says in messages where it is in the config. The
    arguments of a training-only call are not looked at.
    """
    unknown = [(where, target) for where, target in _targets(node, name) if short_name(target) is None]
    if unknown:
        lines = [f"  {where}: {target}{_hint(target)}" for where, target in unknown]
        raise UnknownKey(
            "The config names classes or functions that d2deploy does not have:\n" + "\n".join(lines) + "\n"
            "Remove them. Parts of your own (--import my_module) have their names in YAML configs only."
        )


def _targets(node: LazyNode, name: str) -> Iterator[tuple[str, str]]:
    """(where, target) of all calls and class names below `node`."""
    budget = Budget(MAX_VALUES)
    rest: list[tuple[str, Any, int]] = [(name, node, 0)]
    while rest:
        where, value, depth = rest.pop(0)
        budget.spend()
        if depth > 100:
            raise ConfigError(f"{where[:60]}... in the config refers to what holds it. Remove that reference.")
        if isinstance(value, Symbol):
            yield where, value.name
        if isinstance(value, Call):
            yield where, value.target
        if isinstance(value, list):
            rest += ((f"{where}.{index}", item, depth + 1) for index, item in enumerate(value))
        if isinstance(value, LazyNode) and not (isinstance(value, Call) and short_name(value.target) == ""):
            rest += ((f"{where}.{key}" if where else str(key), value[key], depth + 1) for key in value)


def _full_name(target: str) -> str | None:
    """The name of where it is defined: `target` may leave out trailing parts of the module."""
    return next((full for full in _by_name().get(_last(target), ()) if _stands_for(target, full)), None)


def _by_name() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for full in ALLOWED_TARGETS:
        found.setdefault(_last(full), []).append(full)
    return found


def _last(target: str) -> str:
    return target.rpartition(".")[2]


def _stands_for(target: str, full: str) -> bool:
    module, name = _split(full)
    if not target.endswith(f".{name}"):
        return False
    package = target.removesuffix(f".{name}")
    return module == package or (module.startswith(f"{package}.") and package.count(".") >= 1)


def _split(full: str) -> tuple[str, str]:
    module = max((m for m in _MODULES if full.startswith(f"{m}.")), key=len)
    return module, full.removeprefix(f"{module}.")


def _is_training_only(target: str) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in TRAINING_TARGETS)


def _hint(target: str) -> str:
    near = get_close_matches(_last(target), {_last(full): full for full in ALLOWED_TARGETS}, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near and target.startswith(("detectron2.", "torch.")) else ""
