"""Tensors reach the network by name, and whatever does not is named."""

import gzip
import json
import pickle
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from d2deploy.errors import WeightsError
from d2deploy.weights.match import LoadReport, Misshaped, load_weights
from d2deploy.weights.read import Checkpoint, read_checkpoint


def network(*, device: str = "cpu") -> nn.Module:
    with torch.device(device):
        return nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "norm": nn.BatchNorm2d(4), "head": nn.Linear(4, 2)})


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else torch.tensor(5)
        for name, tensor in module.state_dict().items()
    }


def loaded(changes: Mapping[str, torch.Tensor | None], *, device: str = "meta"):
    """A network and its report, loaded with fitting tensors but for `changes`; None: left out."""
    module = network(device=device)
    given = {name: tensor for name, tensor in {**tensors_of(module), **changes}.items() if tensor is not None}
    return module, load_weights(module, Checkpoint(tensors=given))


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_all_fits(device):
    module, report = loaded({}, device=device)
    assert report == LoadReport(loaded=tuple(network().state_dict()))
    assert report.ok
    report.raise_if_bad()
    for name, tensor in tensors_of(network()).items():
        assert torch.equal(module.state_dict()[name], tensor), name
    assert module["conv"].weight.requires_grad


def test_tensors_are_not_copied():
    module = network(device="meta")
    given = tensors_of(module)
    load_weights(module, Checkpoint(tensors=given))
    assert module["conv"].weight.data_ptr() == given["conv.weight"].data_ptr()
    assert module["norm"].running_mean.data_ptr() == given["norm.running_mean"].data_ptr()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_training_is_named(value):
    bias = torch.zeros(4)
    bias[2] = value
    with pytest.raises(WeightsError, match=r"not finite in 1 of \d+ tensors, in conv\.bias for one"):
        loaded({"conv.bias": bias})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_other_precisions_become_the_networks(dtype, device):
    module, report = loaded({"conv.weight": torch.ones(4, 3, 1, 1, dtype=dtype)}, device=device)
    assert report.ok
    assert module["conv"].weight.dtype == torch.float32
    assert (module["conv"].weight == 1).all()


def test_layout_becomes_plain():
    strange = torch.rand(4, 3, 1, 1).to(memory_format=torch.channels_last)
    transposed = torch.rand(4, 2).t()
    module, _ = loaded({"conv.weight": strange, "head.weight": transposed})
    assert module["head"].weight.is_contiguous()
    assert module["conv"].weight.is_contiguous()
    assert torch.equal(module["head"].weight, transposed)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_strays_are_named(device):
    changes = {
        "head.weight": torch.zeros(7, 4),
        "conv.bias": None,
        "conv.biass": torch.zeros(4),
        "extra": torch.zeros(1),
    }
    module, report = loaded(changes, device=device)
    assert report.missing == ("conv.bias",)
    assert report.unexpected == ("conv.biass", "extra")
    assert report.misshaped == (Misshaped(name="head.weight", checkpoint=(7, 4), network=(2, 4)),)
    assert set(report.loaded) == set(network().state_dict()) - {"conv.bias", "head.weight"}
    assert not report.ok
    assert module["conv"].bias.is_meta == (device == "meta")
    text = str(report)
    assert "missing conv.bias (nearest: conv.biass)" in text
    assert "unexpected conv.biass (nearest: conv.bias)" in text
    assert "unexpected extra\n" in text + "\n"
    assert "misshaped head.weight: (7, 4), in the network (2, 4)" in text


def test_nothing_in_the_state_dict_stays_on_meta_unnamed():
    everything = list(network().state_dict())
    for absent in everything:
        module, report = loaded({absent: None})
        on_meta = {name for name, tensor in module.state_dict().items() if tensor.is_meta}
        assert on_meta == set(report.missing)
        assert report.ok == (absent == "norm.num_batches_tracked")
    assert "norm.num_batches_tracked" in everything


def test_names_without_meaning_are_ignored():
    extra = {
        "pixel_mean": torch.zeros(3, 1, 1),
        "model.pixel_std": torch.ones(3, 1, 1),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4),
        "anchor_generator.cell_anchors._buffers.1": torch.zeros(3, 4),
        "conv.num_batches_tracked": torch.tensor(1),
        "backbone.bottom_up.layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.int64),
    }
    _, report = loaded(extra)
    assert report.ok
    assert set(report.ignored) == set(extra)
    _, report = loaded({"my_pixel_mean": torch.zeros(3), "pixel_mean.weight": torch.zeros(3)})
    assert report.unexpected == ("my_pixel_mean", "pixel_mean.weight")


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_missing_pixel_mean_is_the_networks_own(device):
    module = network(device=device)
    module.register_buffer("pixel_mean", torch.full((3,), 100.0, device=device))
    report = load_weights(module, Checkpoint(tensors=tensors_of(network())))
    assert report.ignored == (("pixel_mean",) if device == "cpu" else ())
    assert report.missing == (() if device == "cpu" else ("pixel_mean",))


def test_an_alias_that_is_not_in_the_state_dict_sees_the_loaded_tensors():
    class WithAlias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1, device="meta")
            self.stages = [self.conv]

    module = WithAlias()
    given = tensors_of(module)
    assert load_weights(module, Checkpoint(tensors=given)).ok
    assert torch.equal(module.stages[0].weight, given["conv.weight"])


def test_matching_by_ends():
    module = network(device="meta")
    given = {**tensors_of(module), "fc.weight": torch.zeros(1)}
    wrapped = nn.ModuleDict({"backbone": module})
    report = load_weights(wrapped, Checkpoint(tensors=given, needs_matching=True))
    assert report.loaded == tuple(f"backbone.{name}" for name in network().state_dict())
    assert report.unexpected == ("fc.weight",)
    assert torch.equal(module["conv"].weight, given["conv.weight"])
    report = load_weights(wrapped, Checkpoint(tensors=given))
    assert not report.loaded


def test_an_ambiguous_end_is_an_error():
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    with pytest.raises(WeightsError, match=r"weight of the checkpoint could be a\.weight or b\.weight"):
        load_weights(module, Checkpoint(tensors={"weight": torch.zeros(2, 2)}, needs_matching=True))


def test_raise_if_bad_carries_the_report(tmp_path):
    file = tmp_path / "model.pkl"
    file.write_bytes(
        pickle.dumps({"model": {n: t.numpy() for n, t in tensors_of(network()).items() if n != "conv.bias"}})
    )
    report = load_weights(network(), read_checkpoint(file))
    with pytest.raises(WeightsError, match=r"does not fit the network: .* 1 missing") as refused:
        report.raise_if_bad()
    assert refused.value.report is report
    assert str(file) in str(refused.value)
    assert "missing conv.bias" in str(refused.value)


def test_only_the_first_strays_are_named_then_counted():
    report = LoadReport(loaded=("x",), missing=tuple(f"block{i}.weight" for i in range(25)))
    with pytest.raises(WeightsError) as refused:
        report.raise_if_bad()
    text = str(refused.value)
    assert [f"block{i}.weight" in text for i in (0, 9, 10, 24)] == [True, True, False, False]
    assert "and 15 more missing" in text
    assert "block24.weight" in str(report)


def test_each_kind_of_stray_gets_a_share():
    many = [f"block{i}.weight" for i in range(25)]
    misshaped = tuple(Misshaped(name=name, checkpoint=(1,), network=(2,)) for name in many)
    report = LoadReport(loaded=("x",), missing=tuple(many), unexpected=tuple(many), misshaped=misshaped)
    with pytest.raises(WeightsError) as refused:
        report.raise_if_bad()
    for kind in ("missing", "unexpected", "misshaped"):
        assert str(refused.value).count(f"\n  {kind} ") == 3
        assert f"and 22 more {kind}" in str(refused.value)


def misshaped(name: str, checkpoint: int, network: int) -> Misshaped:
    return Misshaped(name=name, checkpoint=(checkpoint,), network=(network,))


GUESSES = {
    "another_architecture": (LoadReport(missing=("a",), unexpected=("b",)), "weights of another architecture"),
    "classes": (
        LoadReport(loaded=("a",), misshaped=(misshaped("roi_heads.box_predictor.cls_score.bias", 81, 6),)),
        "knows 80 classes, the config says 5. Set MODEL.ROI_HEADS.NUM_CLASSES 80",
    ),
    "cascade_classes": (
        LoadReport(loaded=("a",), misshaped=(misshaped("roi_heads.box_predictor.2.cls_score.bias", 81, 6),)),
        "knows 80 classes",
    ),
    "dense_classes": (
        LoadReport(loaded=("a",), misshaped=(misshaped("head.cls_score.bias", 9, 6),)),
        "number of classes",
    ),
    "backbone_only": (
        LoadReport(loaded=("backbone.bottom_up.stem.conv1.weight",), missing=("roi_heads.box_head.fc1.weight",)),
        "Only the backbone fits",
    ),
    "mask_on": (
        LoadReport(loaded=("a",), unexpected=("roi_heads.mask_head.predictor.bias",)),
        "set MODEL.MASK_ON True",
    ),
    "mask_off": (LoadReport(loaded=("a",), missing=("roi_heads.mask_head.predictor.bias",)), "set MODEL.MASK_ON False"),
    "deeper": (LoadReport(loaded=("a",), unexpected=("backbone.bottom_up.res4.7.conv1.weight",)), "DEPTH"),
    "unknown": (LoadReport(loaded=("a",), missing=("b",)), "Give the config that this checkpoint was trained with."),
}


@pytest.mark.parametrize("case", GUESSES)
def test_the_error_guesses_the_cause(case):
    report, guess = GUESSES[case]
    with pytest.raises(WeightsError) as refused:
        report.raise_if_bad()
    assert guess in str(refused.value).splitlines()[-1]


def test_a_real_network_with_other_names_reports_fast_and_fully(golden):
    with gzip.open(golden / "manifests.json.gz") as file:
        manifests = json.load(file)
    names = list(manifests["COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"])
    assert len(names) == 307
    report = LoadReport(loaded=("x",), missing=tuple(names), unexpected=tuple(name + "s" for name in names))
    text = str(report)
    nearest = sum(f"missing {name} (nearest: {name}s)" in text for name in names)
    assert nearest == len(names)
