"""Networks that give proposals, or take them, against detectron2's own numbers."""

from typing import Any

import numpy as np
import pytest
import torch

RPN = "COCO-Detection/rpn_R_50_FPN_1x"
FAST_RCNN = "COCO-Detection/fast_rcnn_R_50_FPN_1x"


@torch.inference_mode()
@pytest.mark.parametrize("image", ["china", "noise"])
def test_proposals(image: str, load_golden: Any) -> None:
    """The golden holds the first 300 of 2000. Logits fall; boxes whose logits are equal may change places."""
    golden = load_golden(RPN)
    inputs = golden.inputs(image)
    boxes, logits, image_index = golden.core(*inputs)
    assert len(boxes) == golden.facts["meta"][f"{image}/raw/n"] == 2000
    assert not image_index.any() and image_index.dtype == torch.int64
    expected, falling = golden.arrays[f"{image}/raw/boxes"], golden.arrays[f"{image}/raw/logits"]
    assert np.abs(logits[:300].numpy() - falling).max() <= 2e-4
    distances = np.abs(boxes[:310, None].numpy() - expected).max(axis=-1)
    ours = distances.argmin(axis=0)
    assert distances.min(axis=0).max() <= 0.02 and len(set(ours)) == 300
    assert np.abs(logits.numpy()[ours] - falling).max() <= 2e-4
    # Post-processing only scales: no proposal is empty, and all are inside already.
    info, (height, width) = golden.facts["images"][image], inputs[1][0].tolist()
    scale = np.array([info["width"] / width, info["height"] / height] * 2)
    assert np.abs(boxes.numpy()[ours] * scale - golden.arrays[f"{image}/det/boxes"]).max() <= 0.02
    assert [tensor.name for tensor in golden.spec.outputs] == ["proposal_boxes", "objectness_logits", "image_index"]
    assert golden.spec.thresholds is None and golden.spec.num_classes == 0


@torch.inference_mode()
def test_a_batch_is_its_images(load_golden: Any) -> None:
    golden = load_golden(RPN)
    images, sizes = golden.inputs("china")
    alone = golden.core(images, sizes)
    boxes, logits, image_index = golden.core(images.repeat(3, 1, 1, 1), sizes.repeat(3, 1))
    assert image_index.bincount().tolist() == [2000] * 3
    for number in range(3):
        torch.testing.assert_close(boxes[image_index == number], alone[0], atol=1e-2, rtol=0)
        torch.testing.assert_close(logits[image_index == number], alone[1], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_rows_that_are_no_proposals(load_golden: Any) -> None:
    """Whatever stands in rows beyond num_proposals changes nothing; neither does another image in the batch."""
    golden = load_golden(FAST_RCNN)
    images, sizes, proposals, _ = golden.inputs("china")
    alone = golden.core(images, sizes, proposals[:, :50], torch.tensor([50]))
    rubbish = torch.cat([proposals[:, :50], torch.full((1, 7, 4), float("nan")), proposals[:, 50:60] * 9], dim=1)
    batch = torch.cat([rubbish, proposals[:, : rubbish.shape[1]], rubbish])
    outputs = golden.core(images.repeat(3, 1, 1, 1), sizes.repeat(3, 1), batch, torch.tensor([50, 0, 50]))
    assert len(alone[0]) > 0
    assert outputs[3].bincount().tolist() == [len(alone[0]), 0, len(alone[0])]
    for first in (0, len(alone[0])):
        for ours, expected in zip(outputs[:3], alone[:3], strict=True):
            torch.testing.assert_close(ours[first : first + len(alone[0])], expected, atol=1e-3, rtol=0)


@torch.inference_mode()
def test_no_proposal_at_all(load_golden: Any) -> None:
    golden = load_golden(FAST_RCNN)
    images, sizes, proposals, _ = golden.inputs("china")
    for boxes, count in ((proposals[:, :0], 0), (proposals, 0)):
        outputs = golden.core(images, sizes, boxes, torch.tensor([count]))
        assert [list(tensor.shape) for tensor in outputs] == [[0, 4], [0], [0], [0]]


@torch.inference_mode()
def test_only_the_first_are_used(load_golden: Any) -> None:
    """DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST of the config is 1000."""
    golden = load_golden(FAST_RCNN)
    images, sizes, proposals, _ = golden.inputs("china")
    better = torch.cat([torch.tensor([[[0.0, 0.0, 2.0, 2.0]]]).expand(1, 1000, 4), proposals], dim=1)
    few = golden.core(images, sizes, better, torch.tensor([better.shape[1]]))
    none = golden.core(images, sizes, better[:, :1000], torch.tensor([1000]))
    assert len(few[0]) == len(none[0]) and torch.equal(few[0], none[0])
