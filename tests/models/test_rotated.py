"""The rotated detector (RRPN): what the golden parity (test_parity.py) does not show."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from d2deploy.backends.capture import swapped
from d2deploy.ops import LEAVES


@pytest.fixture(scope="module")
def core(load_golden: Any) -> Any:
    """The golden network."""
    return load_golden("extra/rrpn_R_50_FPN").core


def images(*sizes: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Noise, one image a size (height, width), as the core takes them."""
    sides = torch.tensor(sizes)
    height, width = sides.amax(0).tolist()
    noise = torch.rand((len(sizes), 3, height, width), generator=torch.Generator().manual_seed(0)) * 255
    return noise, sides


def without_threshold(core: Any) -> Any:
    """A copy that finds as many detections as it may: noise has few of its own."""
    loose = copy.deepcopy(core)
    loose.roi_heads.select.above.threshold = 0.0
    return loose


@pytest.mark.parametrize("method", ["script", "trace"])
def test_captures_give_the_same(core: Any, method: str) -> None:
    loose = without_threshold(core)
    with torch.inference_mode():
        if method == "script":
            captured = torch.jit.script(loose)
        else:
            scripted = swapped(loose, dict.fromkeys(LEAVES, torch.jit.script))
            captured = torch.jit.trace(scripted, images((64, 96), (50, 33)), check_trace=False, strict=False)
        for sizes in ([(128, 96)], [(64, 1)], [(96, 64), (1, 1), (33, 64)]):
            expected, given = loose(*images(*sizes)), captured(*images(*sizes))
            assert expected[0].shape[1] == 5 and len(expected[0]) > 0
            for ours, theirs in zip(given, expected, strict=True):
                assert torch.equal(ours, theirs)


@torch.inference_mode()
def test_without_detections(core: Any) -> None:
    strict = copy.deepcopy(core)
    strict.roi_heads.select.above.threshold = 2.0
    for method in (strict, torch.jit.script(strict)):
        outputs = method(*images((64, 96), (50, 33)))
        assert [tuple(output.shape) for output in outputs] == [(0, 5), (0,), (0,), (0,)]


@torch.inference_mode()
def test_without_proposals(core: Any) -> None:
    """Not one proposal is wide enough: nothing is pooled, nothing detected; their rows are zeros."""
    strict = copy.deepcopy(core)
    strict.proposal_generator.min_box_size = 1e9
    batch = images((64, 96), (50, 33))
    features = strict.backbone(strict.prepare(*batch))
    boxes, logits = strict.proposal_generator(features, batch[1])
    assert boxes.shape[2] == 5 and not boxes.any() and (logits == float("-inf")).all()
    assert [len(output) for output in strict(*batch)] == [0, 0, 0, 0]


@torch.inference_mode()
def test_proposals_that_are_no_numbers_are_dropped(core: Any) -> None:
    """A width of infinity must not reach pooling, which would count its samples."""
    broken = copy.deepcopy(core)
    broken.proposal_generator.rpn_head.anchor_deltas.bias[::5] = float("nan")
    broken.proposal_generator.rpn_head.anchor_deltas.bias[5] = 0.0
    batch = images((64, 96))
    features = broken.backbone(broken.prepare(*batch))
    boxes, logits = broken.proposal_generator(features, batch[1])
    assert torch.isfinite(boxes).all() and (logits == float("-inf")).any() and torch.isfinite(logits).any()
    assert all(torch.isfinite(output).all() for output in broken(*batch))


@torch.inference_mode()
def test_batching_changes_nothing_but_the_last_digits(core: Any) -> None:
    loose = without_threshold(core)
    alone = loose(*images((96, 96)))
    pair = loose(*[torch.cat((tensor, tensor)) for tensor in images((96, 96))])
    for image in (0, 1):
        rows = pair[3] == image
        assert rows.sum() == len(alone[0]) > 0
        torch.testing.assert_close(pair[1][rows], alone[1], atol=1e-4, rtol=0)
