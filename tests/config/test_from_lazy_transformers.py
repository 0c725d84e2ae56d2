"""Vision transformers of LazyConfigs: what is given arrives, what is not has the constructors' defaults, what does not
fit is refused."""

import pytest

from d2deploy.config import schema
from d2deploy.config.from_lazy.model import lazy_model_config
from d2deploy.config.lazy.read import read_carried
from d2deploy.errors import ConfigError

VIT = "projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py"
SWIN = "projects/ViTDet/configs/COCO/cascade_mask_rcnn_swin_b_in21k_50ep.py"
MVIT = "projects/MViTv2/configs/mask_rcnn_mvitv2_t_3x.py"
NET, BELOW = "model.backbone.net", "model.backbone.bottom_up"
CLASSES = {VIT: schema.ViT, SWIN: schema.SwinTransformer, MVIT: schema.MViT}


def backbone_of(name, *overrides):
    return lazy_model_config(read_carried(name, overrides)).backbone


def net_of(name, *overrides):
    backbone = backbone_of(name, *overrides)
    return backbone.net if isinstance(backbone, schema.SimpleFeaturePyramid) else backbone.bottom_up


# Global blocks of L and H (reference: ViTDet's paper, four of them evenly spread).
def windows(depth, every):
    return [index for index in range(depth) if (index + 1) % every]


def test_an_official_vit():
    pyramid = backbone_of(VIT)
    assert pyramid.net == schema.ViT(
        use_rel_pos=True, window_size=14, norm_eps=1e-6, window_block_indexes=tuple(windows(12, 3))
    )
    assert (pyramid.square_size, pyramid.norm, pyramid.top_block) == (1024, "LN", "maxpool")
    assert pyramid.scale_factors == (4, 2, 1, 0.5)
    large = net_of("projects/ViTDet/configs/COCO/mask_rcnn_vitdet_l_100ep.py")
    assert (large.embed_dim, large.depth, large.num_heads) == (1024, 24, 16)
    assert list(large.window_block_indexes) == windows(24, 6)
    huge = net_of("projects/ViTDet/configs/LVIS/cascade_mask_rcnn_vitdet_h_100ep.py")
    assert (huge.embed_dim, huge.depth, huge.num_heads) == (1280, 32, 16)
    assert list(huge.window_block_indexes) == windows(32, 8)


def test_an_official_swin():
    assert net_of(SWIN) == schema.SwinTransformer(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
    large = net_of("projects/ViTDet/configs/LVIS/cascade_mask_rcnn_swin_l_in21k_50ep.py")
    assert (large.embed_dim, large.num_heads) == (192, (6, 12, 24, 48))


def test_an_official_mvit():
    assert net_of(MVIT) == schema.MViT(depth=10, last_block_indexes=(0, 2, 7, 9), norm_eps=1e-6)
    assert backbone_of(MVIT).square_size == 0
    huge = "projects/MViTv2/configs/cascade_mask_rcnn_mvitv2_h_in21k_lsj_3x.py"
    assert net_of(huge) == schema.MViT(
        embed_dim=192, depth=80, num_heads=3, last_block_indexes=(3, 11, 71, 79), norm_eps=1e-6
    )


CHANGES = [
    (VIT, f"~{NET}.norm_layer", "norm_eps", 1e-5),
    (VIT, f"{NET}.norm_layer=null", "norm_eps", 1e-5),
    (VIT, f"{NET}.norm_layer.eps=0.001", "norm_eps", 1e-3),
    (VIT, f"{NET}.residual_block_indexes=[2]", "residual_block_indexes", (2,)),
    (VIT, f"{NET}.pretrain_use_cls_token=false", "pretrain_use_cls_token", False),
    (VIT, f"{NET}.window_size=0", "window_size", 0),
    (VIT, f"{NET}.use_act_checkpoint=true", "depth", 12),
    (VIT, f"{NET}.mlp_ratio=3.5", "mlp_ratio", 3.5),
    (SWIN, f"{BELOW}.qk_scale=0.5", "qk_scale", 0.5),
    (SWIN, f"{BELOW}.ape=true", "ape", True),
    (SWIN, f"{BELOW}.frozen_stages=2", "window_size", 7),
    (MVIT, f"{BELOW}.patch_kernel=[5,5]", "patch_kernel", (5, 5)),
    (MVIT, f"{BELOW}.patch_padding=[0,0]", "patch_padding", (0, 0)),
    (MVIT, f"{BELOW}.adaptive_window_size=16", "adaptive_window_size", 16),
]


@pytest.mark.parametrize(("name", "override", "field", "expected"), CHANGES, ids=[change[1] for change in CHANGES])
def test_what_is_changed_arrives(name, override, field, expected):
    assert getattr(net_of(name, override), field) == expected


def test_a_pyramid_on_another_net():
    """Any backbone can stand below; its level of stride 16 gives the same four, and p6."""
    overrides = (
        "model.backbone={_target_: detectron2.modeling.SimpleFeaturePyramid, net: {_target_: "
        "detectron2.modeling.SwinTransformer}, in_feature: p2, out_channels: 256, scale_factors: [4.0, 2.0, 1.0, 0.5], "
        "top_block: {_target_: detectron2.modeling.backbone.fpn.LastLevelMaxPool}}",
    )
    pyramid = backbone_of(VIT, *overrides)
    assert pyramid.net == schema.SwinTransformer() and pyramid.in_feature == "p2"
    assert (pyramid.norm, pyramid.square_size) == ("LN", 0)


REFUSED = [
    (VIT, f"{NET}.colour=1", r"net \(ViT\) has arguments that d2deploy does not know: colour"),
    (VIT, f"{NET}.num_heads=7", "num_heads is 7; it must be a divisor of embed_dim"),
    (VIT, f"{NET}.depth=0", "depth is 0; it must be a whole number of at least 1"),
    (VIT, f"{NET}.img_size=8", "img_size is 8; it must be at least patch_size"),
    (VIT, f"{NET}.mlp_ratio=0", "mlp_ratio is 0.0; it must be a number above 0"),
    (VIT, f"{NET}.qkv_bias=1", "qkv_bias is 1; it must be True or False"),
    (VIT, f"{NET}.window_block_indexes=[-1]", "whole numbers of at least 0"),
    (VIT, f"{NET}.out_feature=7", "out_feature is 7; it must be a name"),
    (VIT, f"{NET}.in_chans=4", "in_chans is 4, but model.pixel_mean gives 3"),
    (VIT, f"{NET}.norm_layer=BN", "norm_layer is 'BN'; it must be torch.nn.LayerNorm"),
    (VIT, f"{NET}.norm_layer.eps=0", "norm_layer is a call of .*LayerNorm; it must be torch.nn.LayerNorm"),
    (VIT, f"{NET}.norm_layer.bias=false", "it must be torch.nn.LayerNorm, or functools.partial of it with eps"),
    (VIT, f"{NET}.act_layer=relu", "act_layer is 'relu'; it must be torch.nn.GELU"),
    (VIT, "model.backbone.in_feature=p2", "in_feature is 'p2'; it must be one of 'last_feat'"),
    (VIT, "model.backbone.scale_factors=[4.0,1.0]", "none left out between"),
    (VIT, "model.backbone.scale_factors=[8.0,4.0]", "falling numbers of 4, 2, 1 and 0.5"),
    (VIT, "model.backbone.scale_factors=[]", "falling numbers of 4, 2, 1 and 0.5"),
    (VIT, f"{NET}.embed_dim=750 {NET}.num_heads=10", "scale_factors is .* divisors of 750"),
    (VIT, "model.backbone.square_pad=-1", "square_pad is -1"),
    (SWIN, f"{BELOW}.num_heads=[4,8,16]", r"num_heads is \[4, 8, 16\]; it must be a divisor of each"),
    (SWIN, f"{BELOW}.num_heads=[0,8,16,32]", "a divisor of each"),
    (SWIN, f"{BELOW}.out_indices=[0,4]", "out_indices is .*one or more of 0, 1, 2, 3"),
    (SWIN, f"{BELOW}.patch_size=[4,4]", "patch_size is .*whole number"),
    (SWIN, f"{BELOW}.out_indices=[0,1]", "in_features is .*one or more names of p0, p1"),
    (MVIT, f"{BELOW}.last_block_indexes=[0,2,7,10]", "three or more rising numbers below 10, the depth"),
    (MVIT, f"{BELOW}.last_block_indexes=[2,0,7,9]", "three or more rising numbers"),
    (MVIT, f"{BELOW}.adaptive_window_size=50", "adaptive_window_size is 50; it must be a number that"),
    (MVIT, f"{BELOW}.patch_stride=[4,2]", "patch_stride is .*the same number twice"),
    (MVIT, f"{BELOW}.patch_kernel=[7]", "patch_kernel is .*two whole numbers"),
    (MVIT, f"{BELOW}.qkv_pool_kernel=[2,2]", "qkv_pool_kernel is .*odd numbers"),
    (MVIT, f"{BELOW}.img_size=16", "img_size is 16; it must be at least 32"),
    (MVIT, f"{BELOW}.out_features=[scale2,scale9]", "out_features is .*some of scale2, scale3, scale4, scale5"),
]


@pytest.mark.parametrize(("name", "override", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_does_not_fit_is_refused(name, override, message):
    with pytest.raises(ConfigError, match=message) as error:
        backbone_of(name, *override.split(" "))
    assert len(str(error.value)) < 400
