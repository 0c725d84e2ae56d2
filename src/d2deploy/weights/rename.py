"""Names of tensors: which tensor of a checkpoint belongs to which tensor of the network.

Conventions other than detectron2's own are known, each as a table of rules: that of Caffe2 (Detectron's models, and the
ImageNet backbones that it began with), that of torchvision's ResNet, and detectron2's own older names. Facts:
detectron2 at 02b5c4e2, checkpoint/c2_model_loading.py and tools/convert-torchvision-to-d2.py.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from d2deploy.errors import WeightsError
from d2deploy.optional import optional

if TYPE_CHECKING:
    import torch  # noqa: TID251 - its types only

Shape = tuple[int, ...]
Rules = tuple[tuple[str, str], ...]  # (pattern, what replaces it), each tried on what the ones before it made

_CAFFE2: Rules = (
    # The end of a blob's name: which tensor of a layer it is.
    (r"_[bg]n_(s|gamma)$", ".norm.weight"),
    (r"_[bg]n_(b|beta)$", ".norm.bias"),
    (r"_bn_(rm|running_mean)$", ".norm.running_mean"),
    (r"_bn_(riv|running_var)$", ".norm.running_var"),
    (r"_w$", ".weight"),
    (r"_b$", ".bias"),
    # The backbone. A pyramid's levels are called after the last block of the stage that they begin at.
    (r"^(res_)?conv1\.", "stem.conv1."),
    (r"^res(\d)_(\d+)_branch1\.", r"res\1.\2.shortcut."),
    (r"^res(\d)_(\d+)_branch2a\.", r"res\1.\2.conv1."),
    (r"^res(\d)_(\d+)_branch2b\.", r"res\1.\2.conv2."),
    (r"^res(\d)_(\d+)_branch2c\.", r"res\1.\2.conv3."),
    (r"^fpn_inner_res(\d)_\d+_sum(_lateral)?\.", r"fpn_lateral\1."),
    (r"^fpn_res(\d)_\d+_sum\.", r"fpn_output\1."),
    (r"^pred\.", "linear."),
    # The RPN. All levels share its layers, which are called after the first.
    (r"^conv_rpn(_fpn2)?\.", "proposal_generator.rpn_head.conv."),
    (r"^rpn_cls_logits(_fpn2)?\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"^rpn_bbox_pred(_fpn2)?\.", "proposal_generator.rpn_head.anchor_deltas."),
    # The heads.
    (r"^fc6\.", "box_head.fc1."),
    (r"^fc7\.", "box_head.fc2."),
    (r"^head_conv(\d+)\.", r"box_head.conv\1."),
    (r"^_?\[mask\]_fcn(\d+)\.", r"mask_head.mask_fcn\1."),
    (r"^conv5_mask\.", "mask_head.deconv."),
    (r"^mask_fcn_logits\.", "mask_head.predictor."),
    (r"^conv_fcn(\d+)\.", r"keypoint_head.conv_fcn\1."),
    (r"^kps_score(_lowres)?\.", r"keypoint_head.score\1."),
    (r"^AnnIndex_lowres\.", "ann_index_lowres."),
    (r"^Index_UV_lowres\.", "index_uv_lowres."),
    (r"^U_lowres\.", "u_lowres."),
    (r"^V_lowres\.", "v_lowres."),
)
# Rows of the background class in layers that detectron2 has without it: a box of four numbers, one mask.
_BACKGROUND_ROWS = {"bbox_pred": 4, "mask_head.predictor": 1}

_TORCHVISION: Rules = (
    (r"^layer1\.", "res2."),
    (r"^layer2\.", "res3."),
    (r"^layer3\.", "res4."),
    (r"^layer4\.", "res5."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"(^|\.)bn(\d)\.", r"\1conv\2.norm."),
    (r"^(?!res)", "stem."),
)
_SIGNS_OF_TORCHVISION = {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"}

# What detectron2 itself called otherwise once: PointRend's heads until February 2021 (projects/PointRend/point_rend/
# roi_heads.py and mask_head.py, which still read these names).
_OLDER: Rules = (
    (r"^roi_heads\.mask_point_head\.", "roi_heads.mask_head.point_head."),
    (r"^roi_heads\.mask_coarse_head\.", "roi_heads.mask_head.coarse_head."),
    (r"^(roi_heads\.mask_head\.(coarse|parameter)_head)\.coarse_mask_fc", r"\1.fc"),
)

# What a network trained to classify leaves behind, and no detector has.
CLASSIFIER = re.compile(r"(fc1000|linear|stem\.fc|head\.fc)\.(weight|bias)|stem\.conv1\.bias")


def from_caffe2(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Caffe2's blobs under the ends of detectron2's names, and with detectron2's rows.

    Background is Caffe2's first class: it goes from box deltas and masks, and to the end of the class scores. A blob
    that no rule knows keeps its name. Raises WeightsError when two blobs get one name.
    """
    names = _renamed(tensors, _CAFFE2)
    return {names[blob]: _with_background_last(names[blob], tensor) for blob, tensor in tensors.items()}


def is_torchvision(names: Iterable[str]) -> bool:
    """Whether a checkpoint's names are those of torchvision's ResNet."""
    return set(names) >= _SIGNS_OF_TORCHVISION


def from_torchvision(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """The tensors of torchvision's ResNet under the ends of detectron2's names."""
    names = _renamed(tensors, _TORCHVISION)
    return {names[name]: tensor for name, tensor in tensors.items()}


def from_older(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Tensors that an older detectron2 saved, under its names of today; all others as they are."""
    names = _renamed(tensors, _OLDER)
    return {names[name]: tensor for name, tensor in tensors.items()}


def _renamed(names: Iterable[str], rules: Rules) -> dict[str, str]:
    """{name: what the rules make of it}."""
    renamed: dict[str, str] = {}
    sources: dict[str, str] = {}
    for name in names:
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        if new in sources:
            raise WeightsError(
                f"{sources[new]} and {name} of the checkpoint are both {new} in detectron2's names. "
                f"Load it in detectron2 and save it again."
            )
        renamed[name], sources[new] = new, name
    return renamed


def _with_background_last(name: str, tensor: "torch.Tensor") -> "torch.Tensor":
    layer = name.rpartition(".")[0] if tensor.ndim else ""
    if layer == "cls_score":
        library = optional("torch", extra="torch")
        moved: torch.Tensor = library.cat([tensor[1:], tensor[:1]])
        return moved
    return tensor[_BACKGROUND_ROWS[layer] :] if layer in _BACKGROUND_ROWS else tensor


def match_by_suffix(network: Mapping[str, Shape], checkpoint: Mapping[str, Shape]) -> dict[str, str]:
    """{network's name: checkpoint's name}, for checkpoints that know only the ends of the network's names.

    A network tensor takes the longest checkpoint name that is its own name or the end of it after a "."; among several
    that take the same one, those whose shape is another let go. Names without a partner are absent, a lone partner of
    another shape is present. The rule is detectron2's (checkpoint/c2_model_loading.py, 02b5c4e2).
    Raises WeightsError when two network tensors of the right shape take the same one.
    """
    claims: dict[str, list[str]] = {}
    for name in sorted(network):
        if source := _longest_end(name, checkpoint):
            claims.setdefault(source, []).append(name)
    pairs: dict[str, str] = {}
    for source, names in claims.items():
        fitting = [name for name in names if network[name] == checkpoint[source]]
        if len(fitting) > 1:
            raise WeightsError(
                f"{source} of the checkpoint could be {' or '.join(fitting[:3])} of the network. "
                f"Give the checkpoint that was trained with this config: it has full names."
            )
        pairs.update(dict.fromkeys(fitting or names, source))
    return pairs


def _longest_end(name: str, candidates: Mapping[str, Shape]) -> str | None:
    """The longest of `candidates` that equals `name` or ends it at a "."."""
    while name not in candidates:
        _, dot, name = name.partition(".")
        if not dot:
            return None
    return name
