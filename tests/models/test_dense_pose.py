"""DensePose's heads against their formulas written out with plain torch functions.

Facts: detectron2 projects/DensePose/densepose/modeling (roi_heads/*.py, predictors/*.py, cse/*.py).
"""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models.dense_pose.branch import add_dense_pose
from d2deploy.models.dense_pose.embedder import Embedder
from d2deploy.models.dense_pose.head import ASPP, NonLocalBlock
from d2deploy.models.dense_pose.predictor import DensePosePredictor, predictor_outputs
from d2deploy.models.pooler import BoxLevels, ROIPooler

CHART = schema.ChartPredictor(
    num_coarse=2,
    num_patches=24,
    deconv_kernel=4,
    up_scale=2,
    uv_confidence="indep_aniso",
    segm_confidence=True,
    segm_epsilon=0.01,
)
MESHES = (
    schema.Mesh(name="cat_50", num_vertices=50, feature_dim=8, classes=(0, 2)),
    schema.Mesh(name="dog_40", num_vertices=40, feature_dim=0, classes=(1,)),
)
EMBEDDING = schema.EmbeddingPredictor(num_coarse=2, embed_size=16, deconv_kernel=4, up_scale=2, meshes=MESHES)
HEAD = schema.DensePoseHead(
    pooler=schema.Pooler(type="ROIAlign", resolution=14, sampling_ratio=2),
    decoder=schema.DensePoseDecoder(out_channels=32, conv_dims=16, norm="", common_stride=4),
    is_deeplab=False,
    use_nonlocal=False,
    norm="",
    conv_dims=(32, 32),
    kernel_size=3,
    predictor=CHART,
)
LEVELS = BoxLevels(("p2", "p3", "p4", "p5"), 32, [4, 8, 16, 32])


def drawn(module: nn.Module) -> Any:
    torch.manual_seed(3)
    for tensor in [*module.parameters(), *module.buffers()]:
        nn.init.normal_(tensor, std=0.1)
    return module.eval().requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 2e-5 * theirs.abs().max()


@pytest.mark.parametrize("side", [14, 28, 60])
def test_pyramid_pooling_is_five_views_side_by_side(side: int) -> None:
    aspp, x = drawn(ASPP(32, side=side)), noise(2, 32, side, side)
    weights = aspp.state_dict()

    def normed(y: Tensor, place: str) -> Tensor:
        return functional.group_norm(y, 32, weights[f"{place}.weight"], weights[f"{place}.bias"]).relu()

    views = [normed(functional.conv2d(x, weights["convs.0.0.weight"]), "convs.0.1")]
    for i, dilation in enumerate((6, 12, 56), 1):
        seen = functional.conv2d(x, weights[f"convs.{i}.0.weight"], padding=dilation, dilation=dilation)
        views.append(normed(seen, f"convs.{i}.1"))
    mean = normed(functional.conv2d(x.mean((2, 3), keepdim=True), weights["convs.4.1.weight"]), "convs.4.2")
    views.append(functional.interpolate(mean, size=(side, side), mode="bilinear", align_corners=False))
    close(aspp(x), functional.conv2d(torch.cat(views, dim=1), weights["project.0.weight"]).relu())
    assert len(weights) == 5 * 3 + 1


def test_a_cell_gets_what_is_seen_elsewhere_by_likeness() -> None:
    block, x = drawn(NonLocalBlock(32)), noise(2, 32, 7, 6)
    weights = block.state_dict()

    def conv(name: str, y: Tensor) -> Tensor:
        return functional.conv2d(y, weights[f"{name}.weight"], weights[f"{name}.bias"])

    theirs = torch.empty_like(x)
    seen, keys = (functional.max_pool2d(conv(name, x), 2).flatten(2) for name in ("g.0", "phi.0"))
    asked = conv("theta", x).flatten(2)
    for image in range(2):
        share = torch.softmax(torch.einsum("cp,cq->pq", asked[image], keys[image]), dim=1)
        answer = torch.einsum("pq,cq->cp", share, seen[image]).reshape(1, 16, 7, 6)
        group = functional.group_norm(conv("W.0", answer), 32, weights["W.1.weight"], weights["W.1.bias"])
        theirs[image] = x[image] + group[0]
    close(block(x), theirs)


def test_confidence_of_a_segmentation_is_above_0_and_multiplied_into_it() -> None:
    predictor, x = drawn(DensePosePredictor(CHART, in_channels=32)), noise(3, 32, 14, 14)
    weights = predictor.state_dict()

    def enlarged(name: str) -> Tensor:
        low = functional.conv_transpose2d(
            x, weights[f"{name}_lowres.weight"], weights[f"{name}_lowres.bias"], stride=2, padding=1
        )
        return functional.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)

    coarse, fine = ((1 + enlarged(f"{name}_segm_confidence").exp()).log() + 0.01 for name in ("coarse", "fine"))
    theirs = {
        "coarse_segm": enlarged("ann_index") * coarse,
        "fine_segm": enlarged("index_uv") * fine,
        **{name: enlarged(name) for name in ("u", "v", "sigma_2", "kappa_u", "kappa_v")},
        "fine_segm_confidence": fine,
        "coarse_segm_confidence": coarse,
    }
    assert list(theirs) == list(predictor_outputs(CHART))
    for ours, name in zip(predictor(x), theirs, strict=True):
        close(ours, theirs[name])
        assert ours.shape == (3, predictor_outputs(CHART)[name], 56, 56)


@pytest.mark.parametrize(
    ("confidence", "names"),
    [("", []), ("iid_iso", ["sigma_2"]), ("indep_aniso", ["sigma_2", "kappa_u", "kappa_v"])],
)
def test_only_what_the_config_models_has_layers(confidence: str, names: list[str]) -> None:
    config = dataclasses.replace(CHART, uv_confidence=confidence, segm_confidence=False)
    assert list(predictor_outputs(config)) == ["coarse_segm", "fine_segm", "u", "v", *names]
    assert len(DensePosePredictor(config, in_channels=8)(noise(1, 8, 4, 4))) == 4 + len(names)


def test_vertices_of_all_meshes_have_length_1() -> None:
    embedder = drawn(Embedder(EMBEDDING))
    weights = embedder.state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in weights.items()} == {
        "embedder_cat_50.features": (50, 8),
        "embedder_cat_50.embeddings": (8, 16),
        "embedder_dog_40.embeddings": (40, 16),
    }
    cat = weights["embedder_cat_50.features"] @ weights["embedder_cat_50.embeddings"]
    theirs = torch.cat((cat, weights["embedder_dog_40.embeddings"]))
    close(embedder(), theirs / theirs.square().sum(dim=1, keepdim=True).sqrt())


class Heads(nn.Module):
    """Stands for the RoI heads: the children are theirs."""

    def __init__(self, config: schema.DensePoseHead) -> None:
        super().__init__()
        self.dense_pose = add_dense_pose(self, config, LEVELS)


@pytest.mark.parametrize("has_decoder", [True, False])
def test_boxes_are_pooled_from_all_levels_made_one_or_each_from_its_own(has_decoder: bool) -> None:
    config = HEAD if has_decoder else dataclasses.replace(HEAD, decoder=None)
    heads = drawn(Heads(config))
    weights = heads.state_dict()
    assert ("decoder.p5.4.weight" in weights) == has_decoder and not any("dense_pose" in name for name in weights)
    features = {name: noise(2, 32, 64 // 2**i, 96 // 2**i) for i, name in enumerate(LEVELS.names)}
    boxes = torch.tensor([[3.0, 5, 90, 120], [10, 20, 50, 60], [0, 0, 300, 200]])
    image_index = torch.tensor([0, 1, 1])

    def conv(name: str, x: Tensor) -> Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1).relu()

    levels, strides = list(features.values()), LEVELS.strides
    if has_decoder:
        summed = torch.zeros(())
        for i, (name, x) in enumerate(features.items()):
            x = conv(f"decoder.{name}.0", x)
            for step in range(i):
                x = conv(f"decoder.{name}.{2 * step}", x) if step else x
                x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            summed = summed + x
        last = functional.conv2d(summed, weights["decoder.predictor.weight"], weights["decoder.predictor.bias"])
        levels, strides = [last], [4]
    pooled = ROIPooler(config.pooler, strides=strides)(levels, boxes, image_index)
    for i in (1, 2):
        pooled = conv(f"densepose_head.body_conv_fcn{i}", pooled)
    found = heads.dense_pose(features, list(features.values()), boxes, image_index)
    for ours, theirs in zip(found, heads.densepose_predictor(pooled), strict=True):
        close(ours, theirs)


def test_head_with_everything_and_no_box() -> None:
    config = dataclasses.replace(HEAD, is_deeplab=True, use_nonlocal=True, norm="GN", predictor=EMBEDDING)
    heads = drawn(Heads(config))
    names = {name for name in heads.state_dict() if name.startswith("densepose_head")}
    assert {"densepose_head.ASPP.convs.4.2.weight", "densepose_head.NLBlock.W.1.bias"} <= names
    assert "densepose_head.body_conv_fcn1.norm.weight" in names and "densepose_head.body_conv_fcn1.bias" not in names
    features = {name: noise(1, 32, 64 // 2**i, 96 // 2**i) for i, name in enumerate(LEVELS.names)}
    found = heads.dense_pose(features, [], torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert [tuple(tensor.shape) for tensor in found] == [(0, 2, 56, 56), (0, 16, 56, 56), (90, 16)]


def test_levels_that_cannot_be_made_one_are_refused() -> None:
    decoder = schema.DensePoseDecoder(out_channels=32, conv_dims=16, norm="", common_stride=8)
    with pytest.raises(ConfigError, match="DECODER_COMMON_STRIDE is 8, and level p2 has stride 4"):
        Heads(dataclasses.replace(HEAD, decoder=decoder))


@pytest.mark.parametrize(("kernel", "scale", "side"), [(4, 2, 56), (2, 1, 28), (3, 2, 58), (6, 1, 28)])
def test_the_side_is_that_of_what_comes_out(kernel: int, scale: int, side: int) -> None:
    predictor = dataclasses.replace(EMBEDDING, deconv_kernel=kernel, up_scale=scale)
    found = DensePosePredictor(predictor, in_channels=8)(noise(1, 8, 14, 14))[0]
    assert dataclasses.replace(HEAD, predictor=predictor).side == side == found.shape[-1]
