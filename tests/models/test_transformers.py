"""Vision transformers in small: captured at one size and run at others, and each option of the constructors."""

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import swapped
from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.config.zoo import zoo_models
from d2deploy.models.backbone import build_backbone
from d2deploy.models.build import build_model
from d2deploy.ops import LEAVES


def pyramid(bottom_up: Any, levels: tuple[str, ...]) -> schema.FPN:
    return schema.FPN(
        bottom_up=bottom_up,
        in_features=levels,
        out_channels=16,
        norm="LN",
        fuse_type="sum",
        top_block="maxpool",
        top_in_feature="",
    )


VIT = schema.ViT(
    img_size=96,
    embed_dim=32,
    depth=3,
    num_heads=2,
    use_rel_pos=True,
    window_size=3,
    window_block_indexes=(0, 2),
    residual_block_indexes=(1,),
    pretrain_img_size=64,
)
PLAIN = schema.ViT(embed_dim=32, depth=1, num_heads=2, use_abs_pos=False, pretrain_use_cls_token=False)
SWIN = schema.SwinTransformer(
    embed_dim=16, depths=(2, 2, 1, 2), num_heads=(1, 2, 2, 4), window_size=4, ape=True, qk_scale=0.4
)
MVIT = schema.MViT(
    embed_dim=16,
    depth=8,
    last_block_indexes=(1, 3, 5, 7),
    img_size=64,
    adaptive_window_size=16,
    use_abs_pos=True,
    pretrain_img_size=64,
)
BARE_MVIT = schema.MViT(
    embed_dim=16,
    depth=3,
    last_block_indexes=(0, 1, 2),
    use_rel_pos=False,
    residual_pooling=False,
    out_features=("scale4",),
)
CONFIGS = {
    "ViT": VIT,
    "plain ViT": PLAIN,
    "ViT, pyramid": schema.SimpleFeaturePyramid(
        net=VIT, in_feature="last_feat", out_channels=16, scale_factors=(4.0, 2.0, 1.0, 0.5), top_block="maxpool"
    ),
    "Swin": SWIN,
    "Swin, pyramid": pyramid(SWIN, ("p0", "p1", "p2", "p3")),
    "MViT": MVIT,
    "MViT, pyramid": pyramid(MVIT, ("scale2", "scale3", "scale4", "scale5")),
    "bare MViT": BARE_MVIT,
}
# Batch, height, width; a pyramid pads to multiples of 32 before.
FREE, PADDED = [(2, 64, 96), (1, 150, 97), (3, 70, 33)], [(2, 64, 96), (1, 160, 96), (3, 96, 32)]


class Levels(nn.Module):
    """A backbone whose levels are a list: tracing takes no dicts."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = build_backbone(config, in_channels=3).eval().requires_grad_(False)
        for parameter in self.backbone.parameters():
            if parameter.dim() < 4:  # tables of positions are born as zeros
                parameter.copy_(torch.randn(parameter.shape) * 0.2)
        self.names = list(self.backbone.out_channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.backbone(images)
        levels: list[Tensor] = []
        for name in self.names:
            levels.append(features[name])
        return levels


def scripted(network: nn.Module) -> Any:
    return torch.jit.script(network)


def traced(network: nn.Module) -> Any:
    core = swapped(network, dict.fromkeys(LEAVES, torch.jit.script))
    return torch.jit.trace(core, (torch.rand(2, 3, 96, 64),), check_trace=False, strict=False)


@torch.inference_mode()
@pytest.mark.parametrize("capture", [scripted, traced])
@pytest.mark.parametrize("name", CONFIGS)
def test_captured_at_one_size_right_at_others(name: str, capture: Any) -> None:
    network = Levels(CONFIGS[name])
    captured = capture(network)
    assert "Device = prim::Constant" not in str(captured.inlined_graph)
    backbone = network.backbone
    for batch, height, width in PADDED if "pyramid" in name else FREE:
        images = torch.rand(batch, 3, height, width)
        expected = network(images)
        for level, given in zip(network.names, captured(images), strict=True):
            assert given.shape[:2] == (batch, backbone.out_channels[level])
            rows = given.shape[2]
            assert rows in (height // backbone.out_strides[level], -(-height // backbone.out_strides[level]))
        torch.testing.assert_close(captured(images), expected, atol=0, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGS)
def test_images_of_a_batch_know_nothing_of_each_other(name: str) -> None:
    network = Levels(CONFIGS[name])
    images = torch.rand(3, 3, 64, 96)
    together = network(images)
    for number in range(3):
        alone = network(images[number : number + 1])
        for level, whole in zip(alone, together, strict=True):
            torch.testing.assert_close(level[0], whole[number], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_windows_hide_what_is_far_away() -> None:
    """A ViT of one windowed block: a pixel changes its own window of 3x3 patches and no other."""
    config = schema.ViT(embed_dim=32, depth=1, num_heads=2, window_size=3, window_block_indexes=(0,))
    network = Levels(config)
    images = torch.rand(1, 3, 96, 96)
    before = network(images)[0]
    images[0, :, 50, 20] += 1  # patch (3, 1), so window (1, 0)
    changed = (network(images)[0] - before).abs().amax(dim=(0, 1)) > 1e-6
    assert changed[3:6, 0:3].all() and changed.sum() == 9


def test_keys_of_what_no_official_config_has() -> None:
    """Names as in detectron2's modules: convolution and norm side by side in the residual block, ape, class token."""
    with torch.device("meta"):
        vit = {name: list(tensor.shape) for name, tensor in build_backbone(VIT, in_channels=3).state_dict().items()}
        swin = build_backbone(SWIN, in_channels=3).state_dict()
        mvit = build_backbone(MVIT, in_channels=3).state_dict()
    residual = {name.removeprefix("blocks.1.residual."): shape for name, shape in vit.items() if ".residual." in name}
    assert residual == {
        "conv1.weight": [16, 32, 1, 1],
        "norm1.weight": [16],
        "norm1.bias": [16],
        "conv2.weight": [16, 16, 3, 3],
        "norm2.weight": [16],
        "norm2.bias": [16],
        "conv3.weight": [32, 16, 1, 1],
        "norm3.weight": [32],
        "norm3.bias": [32],
    }
    assert vit["pos_embed"] == [1, 17, 32]
    assert list(swin["absolute_pos_embed"].shape) == [1, 16, 56, 56]
    assert list(mvit["pos_embed"].shape) == [1, 257, 16]


MANIFESTS = json.loads(gzip.decompress((Path(__file__).parents[1] / "golden/manifests.json.gz").read_bytes()))
COCO = "projects/ViTDet/configs/COCO"
BASES = {
    "vitdet": f"{COCO}/mask_rcnn_vitdet_b_100ep.py",
    "swin": f"{COCO}/cascade_mask_rcnn_swin_b_in21k_50ep.py",
    "ViTDet/mvit": f"{COCO}/cascade_mask_rcnn_mvitv2_b_in21k_100ep.py",
    "MViTv2/mvit": "projects/MViTv2/configs/mask_rcnn_mvitv2_t_3x.py",  # no norm in the pyramid
}
# Blocks of each size, and channels of the first stage (ViT: of all).
SIZES = {
    "vitdet_b": (12, 768),
    "vitdet_l": (24, 1024),
    "vitdet_h": (32, 1280),
    "swin_b": (24, 128),
    "swin_l": (24, 192),
    "mvitv2_t": (10, 96),
    "mvitv2_s": (16, 96),
    "mvitv2_b": (24, 96),
    "mvitv2_l": (48, 144),
    "mvitv2_h": (80, 192),
}
OFFICIAL = [model.name for model in zoo_models() if model.name.startswith(("ViTDet/", "MViTv2/"))]


def unnumbered(names: Iterable[str]) -> set[str]:
    """Names of a backbone's parameters whatever the block."""
    return {re.sub(r"\.\d+\.", ".#.", name) for name in names if name.startswith("backbone.")}


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_official_one_can_be_built(name: str) -> None:
    """Names are those that detectron2 gave for a smaller one of the family, as many blocks as its size has."""
    assert len(OFFICIAL) == 29
    with torch.device("meta"):
        core: Any = build_model(read_model_config(name))
    shapes = {key: list(tensor.shape) for key, tensor in core.state_dict().items()}
    short = re.sub(r"(COCO|LVIS)/cascade_mask_rcnn_|(COCO|LVIS)/mask_rcnn_|cascade_mask_rcnn_|mask_rcnn_", "", name)
    family = next(part for part in BASES if part in short)
    assert unnumbered(shapes) == unnumbered(MANIFESTS[BASES[family]])
    blocks, channels = next(size for part, size in SIZES.items() if part in name)
    assert sum(key.endswith(".mlp.fc1.weight") for key in shapes) == blocks
    assert next(shape for key, shape in shapes.items() if key.endswith("patch_embed.proj.weight"))[0] == channels
    assert list(core.backbone.out_strides.values()) == [4, 8, 16, 32, 64]
