"""Checkpoints that know only the ends of the network's names, or call them otherwise."""

import gzip
import json
import pickle
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from d2deploy.errors import WeightsError
from d2deploy.weights.match import load_weights
from d2deploy.weights.read import Checkpoint, read_checkpoint
from d2deploy.weights.rename import (
    Shape,
    from_caffe2,
    from_older,
    from_torchvision,
    is_torchvision,
    match_by_suffix,
)

CASES: dict[str, tuple[dict[str, Shape], dict[str, Shape], dict[str, str]]] = {
    "same": ({"a.w": (1,)}, {"a.w": (1,)}, {"a.w": "a.w"}),
    "end": ({"backbone.a.w": (1,)}, {"a.w": (1,)}, {"backbone.a.w": "a.w"}),
    "only_at_a_dot": ({"backbone.ba.w": (1,)}, {"a.w": (1,)}, {}),
    "longest_wins": ({"x.a.w": (1,)}, {"w": (1,), "a.w": (1,), "x.a": (1,)}, {"x.a.w": "a.w"}),
    "longest_wins_whatever_its_shape": ({"x.a.w": (1,)}, {"w": (1,), "a.w": (2,)}, {"x.a.w": "a.w"}),
    "the_checkpoint_may_not_be_longer": ({"a.w": (1,)}, {"x.a.w": (1,)}, {}),
    "shape_decides": ({"x.w": (1,), "y.w": (2,)}, {"w": (2,)}, {"y.w": "w"}),
    "misshaped_alone_stays": ({"x.w": (1,)}, {"w": (2,)}, {"x.w": "w"}),
    "resnet": (
        {"backbone.bottom_up.stem.conv1.weight": (64, 3, 7, 7), "roi_heads.box_head.fc1.weight": (8, 8)},
        {"stem.conv1.weight": (64, 3, 7, 7), "stem.fc.weight": (1000, 2048)},
        {"backbone.bottom_up.stem.conv1.weight": "stem.conv1.weight"},
    ),
    "nothing": ({}, {}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_match(case):
    network, checkpoint, expected = CASES[case]
    assert match_by_suffix(network, checkpoint) == expected


def test_two_claims_of_the_right_shape_are_ambiguous():
    with pytest.raises(WeightsError, match=r"fc\.weight of the checkpoint could be a\.fc\.weight or b\.fc\.weight"):
        match_by_suffix({"b.fc.weight": (1,), "a.fc.weight": (1,)}, {"fc.weight": (1,)})


NAMES = st.dictionaries(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join), st.sampled_from([(1,), (2,)]), max_size=8
)


@given(NAMES, NAMES)
def test_pairs_are_ends_and_no_tensor_is_used_twice(network, checkpoint):
    try:
        pairs = match_by_suffix(network, checkpoint)
    except WeightsError:
        return
    for name, source in pairs.items():
        assert f".{name}".endswith(f".{source}")
        longer = [other for other in checkpoint if len(other) > len(source) and f".{name}".endswith(f".{other}")]
        assert not longer
    fitting = [source for name, source in pairs.items() if network[name] == checkpoint[source]]
    assert len(fitting) == len(set(fitting))
    assert pairs == match_by_suffix(dict(reversed(network.items())), dict(reversed(checkpoint.items())))


BLOBS = {
    "conv1_w": "stem.conv1.weight",
    "conv1_gn_s": "stem.conv1.norm.weight",
    "res_conv1_bn_s": "stem.conv1.norm.weight",
    "res_conv1_bn_b": "stem.conv1.norm.bias",
    "res_conv1_bn_rm": "stem.conv1.norm.running_mean",
    "res2_0_branch1_w": "res2.0.shortcut.weight",
    "res2_0_branch1_bn_s": "res2.0.shortcut.norm.weight",
    "res4_22_branch2a_w": "res4.22.conv1.weight",
    "res4_22_branch2b_bn_b": "res4.22.conv2.norm.bias",
    "res5_2_branch2c_bn_riv": "res5.2.conv3.norm.running_var",
    "res5_2_branch2c_gn_b": "res5.2.conv3.norm.bias",
    "fpn_inner_res5_2_sum_w": "fpn_lateral5.weight",
    "fpn_inner_res4_22_sum_lateral_b": "fpn_lateral4.bias",
    "fpn_inner_res3_3_sum_lateral_gn_s": "fpn_lateral3.norm.weight",
    "fpn_res2_2_sum_w": "fpn_output2.weight",
    "fpn_res2_2_sum_gn_b": "fpn_output2.norm.bias",
    "conv_rpn_fpn2_w": "proposal_generator.rpn_head.conv.weight",
    "conv_rpn_b": "proposal_generator.rpn_head.conv.bias",
    "rpn_cls_logits_fpn2_w": "proposal_generator.rpn_head.objectness_logits.weight",
    "rpn_cls_logits_b": "proposal_generator.rpn_head.objectness_logits.bias",
    "rpn_bbox_pred_fpn2_b": "proposal_generator.rpn_head.anchor_deltas.bias",
    "rpn_bbox_pred_w": "proposal_generator.rpn_head.anchor_deltas.weight",
    "fc6_w": "box_head.fc1.weight",
    "fc7_b": "box_head.fc2.bias",
    "head_conv3_w": "box_head.conv3.weight",
    "head_conv3_gn_s": "box_head.conv3.norm.weight",
    "bbox_pred_w": "bbox_pred.weight",
    "cls_score_b": "cls_score.bias",
    "_[mask]_fcn4_w": "mask_head.mask_fcn4.weight",
    "_[mask]_fcn4_gn_b": "mask_head.mask_fcn4.norm.bias",
    "conv5_mask_w": "mask_head.deconv.weight",
    "mask_fcn_logits_b": "mask_head.predictor.bias",
    "conv_fcn8_b": "keypoint_head.conv_fcn8.bias",
    "kps_score_lowres_w": "keypoint_head.score_lowres.weight",
    "body_conv_fcn1_w": "body_conv_fcn1.weight",
    "Index_UV_lowres_w": "index_uv_lowres.weight",
    "V_lowres_b": "v_lowres.bias",
    "pred_w": "linear.weight",
    "fc1000_b": "fc1000.bias",
    "something_else": "something_else",
}


@pytest.mark.parametrize("blob", BLOBS)
def test_blob(blob):
    assert list(from_caffe2({blob: torch.zeros(5)})) == [BLOBS[blob]]


def test_background_goes_or_becomes_the_last_class():
    rows = torch.arange(12.0).reshape(12, 1)
    blobs = {"cls_score_w": rows[:3], "bbox_pred_w": rows, "mask_fcn_logits_w": rows[:3], "rpn_bbox_pred_fpn2_w": rows}
    tensors = {name: tensor.flatten().tolist() for name, tensor in from_caffe2(blobs).items()}
    assert tensors["cls_score.weight"] == [1, 2, 0]
    assert tensors["bbox_pred.weight"] == list(range(4, 12))
    assert tensors["mask_head.predictor.weight"] == [1, 2]
    assert tensors["proposal_generator.rpn_head.anchor_deltas.weight"] == list(range(12))
    assert from_caffe2({"cls_score_w": torch.tensor(1.0)})["cls_score.weight"] == 1


def test_two_blobs_of_one_name_are_an_error():
    with pytest.raises(WeightsError, match=r"conv_rpn_w and conv_rpn_fpn2_w of the checkpoint are both proposal"):
        from_caffe2({"conv_rpn_w": torch.zeros(1), "conv_rpn_fpn2_w": torch.zeros(1)})


# How Detectron called what detectron2's networks have, written down from Detectron's side: (end of the name, blob).
LAYERS = (
    (r"stem\.conv1", "conv1"),
    (r"stem\.conv1\.norm", "res_conv1"),
    (r"res(\d)\.(\d+)\.shortcut(?:\.norm)?", r"res\1_\2_branch1"),
    (r"res(\d)\.(\d+)\.conv1(?:\.norm)?", r"res\1_\2_branch2a"),
    (r"res(\d)\.(\d+)\.conv2(?:\.norm)?", r"res\1_\2_branch2b"),
    (r"res(\d)\.(\d+)\.conv3(?:\.norm)?", r"res\1_\2_branch2c"),
    (r"backbone\.fpn_lateral5(?:\.norm)?", "fpn_inner_res5_2_sum"),
    (r"backbone\.fpn_lateral4(?:\.norm)?", "fpn_inner_res4_5_sum_lateral"),
    (r"backbone\.fpn_lateral(\d)(?:\.norm)?", r"fpn_inner_res\1_3_sum_lateral"),
    (r"backbone\.fpn_output(\d)(?:\.norm)?", r"fpn_res\1_2_sum"),
    (r"rpn_head\.conv", "conv_rpn_fpn2"),
    (r"rpn_head\.objectness_logits", "rpn_cls_logits_fpn2"),
    (r"rpn_head\.anchor_deltas", "rpn_bbox_pred_fpn2"),
    (r"box_head\.fc1", "fc6"),
    (r"box_head\.fc2", "fc7"),
    (r"box_head\.conv(\d)(?:\.norm)?", r"head_conv\1"),
    (r"box_predictor\.(cls_score|bbox_pred)", r"\1"),
    (r"mask_head\.mask_fcn(\d)(?:\.norm)?", r"_[mask]_fcn\1"),
    (r"mask_head\.deconv", "conv5_mask"),
    (r"mask_head\.predictor", "mask_fcn_logits"),
    (r"keypoint_head\.conv_fcn(\d)", r"conv_fcn\1"),
    (r"keypoint_head\.score_lowres", "kps_score_lowres"),
)
NETWORKS = {
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml": "bn",
    "COCO-InstanceSegmentation/mask_rcnn_R_101_C4_3x.yaml": "bn",
    "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml": "bn",
    "COCO-Detection/rpn_R_50_FPN_1x.yaml": "bn",
    "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x.yaml": "bn",
    "Misc/mask_rcnn_R_50_FPN_3x_gn.yaml": "gn",
}


def blob_of(name: str, norm: str) -> str:
    """What Detectron called the tensor `name`."""
    layer, _, tensor = name.rpartition(".")
    found = [m.expand(blob) for pattern, blob in LAYERS if (m := re.search(rf"(?:^|\.){pattern}$", layer))]
    end = {"weight": "w", "bias": "b"}[tensor]
    if layer.endswith(".norm"):
        end = f"{norm}_{'s' if tensor == 'weight' else 'b'}"
    return f"{found[0]}_{end}" if not (norm == "gn" and found[0] == "res_conv1") else f"conv1_{end}"


def with_background_first(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if ".cls_score." in name:
        return torch.cat([tensor[-1:], tensor[:-1]])
    rows = 4 if ".bbox_pred." in name else 1 if "mask_head.predictor." in name else 0
    return torch.cat([torch.full((rows, *tensor.shape[1:]), 9.0), tensor])


def network(shapes: dict[str, list[int]]) -> nn.Module:
    """A module with buffers of these names and shapes, on meta."""
    root = nn.Module()
    for name, shape in shapes.items():
        *parents, last = name.split(".")
        module = root
        for parent in parents:
            if parent not in module._modules:
                module.add_module(parent, nn.Module())
            module = module.get_submodule(parent)
        module.register_buffer(last, torch.empty(shape, device="meta"))
    return root


@pytest.mark.parametrize("config", NETWORKS)
def test_a_network_of_caffe2s_time_loads_whole(config, golden, tmp_path):
    with gzip.open(golden / "manifests.json.gz") as file:
        manifest = json.load(file)[config]
    # Smaller in all but the number of rows that classes decide.
    shapes = {name: [*shape[:1], *(min(side, 2) for side in shape[1:])] for name, shape in manifest.items()}
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    statistics = {name for name in tensors if "running_" in name}
    assert bool(statistics) == (NETWORKS[config] == "bn")
    blobs = {
        blob_of(name, NETWORKS[config]): with_background_first(name, tensor).numpy()
        for name, tensor in tensors.items()
        if name not in statistics
    }
    assert len(blobs) == len(tensors) - len(statistics) > 50
    momenta = {f"{name}_momentum": blob for name, blob in blobs.items()}
    leftovers = {name: torch.zeros(3).numpy() for name in ("fc1000_w", "fc1000_b", "conv1_b")}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"blobs": {**blobs, **momenta, **leftovers}, "cfg": "MODEL: {}"}, protocol=2))

    module = network(shapes)
    report = load_weights(module, read_checkpoint(path))

    report.raise_if_bad()
    assert set(report.ignored) == {*statistics, "fc1000.weight", "fc1000.bias", "stem.conv1.bias"}
    assert set(report.loaded) == tensors.keys() - statistics
    for name, tensor in module.state_dict().items():
        if name in statistics:
            assert (tensor == (0 if name.endswith("mean") else 1)).all(), name
        else:
            assert torch.equal(tensor, tensors[name]), name


def test_an_unknown_blob_is_unexpected():
    checkpoint = Checkpoint(
        tensors={"a_w": torch.zeros(2), "retnet_cls_w": torch.zeros(2)}, author="Caffe2", needs_matching=True
    )
    report = load_weights(network({"head.a.weight": [2]}), checkpoint)
    assert report.loaded == ("head.a.weight",)
    assert report.unexpected == ("retnet_cls.weight",)


def test_caffe2s_names_are_changed_only_in_checkpoints_of_caffe2():
    tensors = {"a_w": torch.zeros(2)}
    assert load_weights(network({"a_w": [2]}), Checkpoint(tensors=tensors)).ok
    assert not load_weights(network({"a_w": [2]}), Checkpoint(tensors=tensors, author="Caffe2", needs_matching=True)).ok


TORCHVISION = {
    "conv1.weight": "stem.conv1.weight",
    "bn1.running_mean": "stem.conv1.norm.running_mean",
    "bn1.weight": "stem.conv1.norm.weight",
    "layer1.0.conv1.weight": "res2.0.conv1.weight",
    "layer1.0.bn3.bias": "res2.0.conv3.norm.bias",
    "layer2.0.downsample.0.weight": "res3.0.shortcut.weight",
    "layer2.0.downsample.1.running_var": "res3.0.shortcut.norm.running_var",
    "layer4.2.bn2.weight": "res5.2.conv2.norm.weight",
    "fc.bias": "stem.fc.bias",
}


def test_torchvisions_resnet():
    tensors = {name: torch.full((2,), float(i)) for i, name in enumerate(TORCHVISION)}
    assert is_torchvision(tensors)
    assert list(from_torchvision(tensors)) == list(TORCHVISION.values())
    names = [f"backbone.bottom_up.{name}" for name in TORCHVISION.values() if ".fc." not in name]
    module = network({name: [2] for name in names})
    report = load_weights(module, Checkpoint(tensors=tensors))
    report.raise_if_bad()
    assert report.loaded == tuple(names)
    assert report.ignored == ("stem.fc.bias",)
    for i, name in enumerate(names):
        assert (module.state_dict()[name] == i).all(), name


def test_a_network_that_is_torchvisions_own_keeps_its_names():
    names = {f"model.{name}": [2] for name in TORCHVISION}
    tensors = {name: torch.zeros(2) for name in names}
    assert load_weights(network(names), Checkpoint(tensors=tensors)).ok
    bare = Checkpoint(tensors={name: torch.zeros(2) for name in TORCHVISION}, needs_matching=True)
    assert load_weights(network(names), bare).ok


def test_only_a_frozen_norm_gets_statistics():
    shapes = {f"norm.{name}": [2] for name in ("weight", "bias", "running_mean", "running_var")}
    given = {name: torch.zeros(2) for name in ("norm.weight", "norm.bias")}
    report = load_weights(network(shapes), Checkpoint(tensors=given))
    assert report.ok and set(report.ignored) == {"norm.running_mean", "norm.running_var"}
    one = load_weights(network(shapes), Checkpoint(tensors={**given, "norm.running_mean": torch.zeros(2)}))
    assert one.missing == ("norm.running_var",)
    counted = load_weights(network({**shapes, "norm.num_batches_tracked": []}), Checkpoint(tensors=given))
    assert counted.missing == ("norm.running_mean", "norm.running_var")
    absent = load_weights(network(shapes), Checkpoint(tensors={"x": torch.zeros(2)}))
    assert len(absent.missing) == 4


OLDER = {
    "roi_heads.mask_point_head.fc1.weight": "roi_heads.mask_head.point_head.fc1.weight",
    "roi_heads.mask_point_head.predictor.bias": "roi_heads.mask_head.point_head.predictor.bias",
    "roi_heads.mask_coarse_head.coarse_mask_fc2.bias": "roi_heads.mask_head.coarse_head.fc2.bias",
    "roi_heads.mask_head.coarse_head.coarse_mask_fc1.weight": "roi_heads.mask_head.coarse_head.fc1.weight",
    "roi_heads.mask_coarse_head.prediction.weight": "roi_heads.mask_head.coarse_head.prediction.weight",
    "roi_heads.mask_head.mask_fcn1.weight": "roi_heads.mask_head.mask_fcn1.weight",
    "sem_seg_head.point_head.fc1.weight": "sem_seg_head.point_head.fc1.weight",
}


def test_names_of_an_older_detectron2():
    tensors = {name: torch.zeros(1) for name in OLDER}
    assert list(from_older(tensors)) == list(OLDER.values())
    assert all(ours is theirs for ours, theirs in zip(from_older(tensors).values(), tensors.values(), strict=True))
    with pytest.raises(WeightsError, match=r"both roi_heads\.mask_head\.coarse_head\.fc1\.weight"):
        from_older(dict.fromkeys(("roi_heads.mask_coarse_head.coarse_mask_fc1.weight", *OLDER), torch.zeros(1)))


def test_older_names_are_read_by_load_weights():
    heads = nn.ModuleDict({"mask_head": nn.ModuleDict({"coarse_head": nn.ModuleDict({"fc1": nn.Linear(2, 2)})})})
    old = {
        f"roi_heads.mask_coarse_head.coarse_mask_fc1.{name}": torch.ones_like(tensor)
        for name, tensor in nn.Linear(2, 2).state_dict().items()
    }
    assert load_weights(nn.ModuleDict({"roi_heads": heads}), Checkpoint(tensors=old)).ok
