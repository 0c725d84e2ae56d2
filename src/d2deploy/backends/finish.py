"""From a core's outputs to what they mean on the original images, inside the graph: one module a kind of outputs.

The same steps that d2deploy.postprocess takes outside of it; each whose sizes follow the data is an op.
"""

import torch
from torch import Tensor, nn

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.ops.find_keypoints import FindKeypoints
from d2deploy.ops.merge_panoptic import MergePanoptic
from d2deploy.ops.paste_masks import PasteMasks
from d2deploy.ops.rescale_boxes import rescale_boxes, scales
from d2deploy.ops.resize_maps import ResizeMaps


def finished_outputs(spec: ModelSpec) -> tuple[TensorSpec, ...]:
    """What comes out instead of `spec`'s outputs. H and W: the largest of original_sizes."""
    given = {tensor.name: tensor for tensor in spec.outputs}
    rows = FinishDetections.rows if "boxes" in given else FinishProposals.rows
    made = [given[name] for name in rows if name in given]
    if "mask_probs" in given:
        made.append(TensorSpec(name="masks", shape=("D", "H", "W"), dtype="bool"))
    if "keypoint_heatmaps" in given:
        points = given["keypoint_heatmaps"].shape[1]
        made.append(TensorSpec(name="keypoints", shape=("D", points, 3), dtype="float32"))
    if "sem_seg" in given:
        channels = given["sem_seg"].shape[1]
        made.append(TensorSpec(name="sem_seg", shape=("N", channels, "H", "W"), dtype="float32"))
        made.append(TensorSpec(name="labels", shape=("N", "H", "W"), dtype="int64"))
    if spec.panoptic is not None:
        made.append(TensorSpec(name="panoptic_seg", shape=("N", "H", "W"), dtype="int32"))
        made.append(TensorSpec(name="segments", shape=("S", 6), dtype="int64"))
    return tuple(made)


def finisher(spec: ModelSpec) -> nn.Module:
    """forward(outputs, image_sizes, original_sizes) -> `finished_outputs(spec)`."""
    names = [tensor.name for tensor in spec.outputs]
    if "boxes" in names:
        return FinishDetections(spec)
    return FinishProposals(spec) if "proposal_boxes" in names else FinishMaps(spec)


def _places(spec: ModelSpec) -> dict[str, int]:
    return {tensor.name: place for place, tensor in enumerate(spec.outputs)}


class FinishMaps(nn.Module):
    """Logits of the original images' pixels, and the highest class of each."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.places = _places(spec)
        self.resize = ResizeMaps()

    def forward(self, outputs: list[Tensor], image_sizes: Tensor, original_sizes: Tensor) -> list[Tensor]:
        """The core's outputs, image_sizes[N,2], original_sizes[N,2] -> sem_seg[N,C,H,W], labels[N,H,W] int64."""
        sem_seg = self.resize(outputs[self.places["sem_seg"]], image_sizes, original_sizes)
        return [sem_seg, sem_seg.argmax(dim=1)]


class FinishProposals(nn.Module):
    """Proposals in the original images' pixels."""

    rows = ("proposal_boxes", "objectness_logits", "image_index")

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.places = _places(spec)

    def forward(self, outputs: list[Tensor], image_sizes: Tensor, original_sizes: Tensor) -> list[Tensor]:
        """The core's outputs, image_sizes[N,2], original_sizes[N,2] -> the same, but for boxes without area."""
        index = outputs[self.places["image_index"]]
        scale = scales(image_sizes, original_sizes)[index]
        boxes, rows = rescale_boxes(outputs[self.places["proposal_boxes"]], scale, original_sizes[index])
        return [boxes[rows], outputs[self.places["objectness_logits"]][rows], index[rows]]


class FinishDetections(nn.Module):
    """Detections in the original images' pixels; with masks, keypoints and the picture of all, where there are such."""

    rows = ("boxes", "scores", "classes", "image_index")

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.places = _places(spec)
        self.has_mask_boxes = "mask_boxes" in self.places
        self.paste = PasteMasks() if "mask_probs" in self.places else None
        self.find_keypoints = FindKeypoints() if "keypoint_heatmaps" in self.places else None
        self.finish_maps = FinishMaps(spec) if "sem_seg" in self.places else None
        self.merge = _merge(spec)

    def forward(self, outputs: list[Tensor], image_sizes: Tensor, original_sizes: Tensor) -> list[Tensor]:
        """The core's outputs, image_sizes[N,2], original_sizes[N,2] -> see `finished_outputs`."""
        index = outputs[self.places["image_index"]]
        scale = scales(image_sizes, original_sizes)[index]
        boxes, rows = rescale_boxes(outputs[self.places["boxes"]], scale, original_sizes[index])
        boxes, index = boxes[rows], index[rows]
        scores, classes = outputs[self.places["scores"]][rows], outputs[self.places["classes"]][rows]
        finished = [boxes, scores, classes, index]
        if self.paste is not None:
            mask_boxes = boxes
            if self.has_mask_boxes:
                mask_boxes = outputs[self.places["mask_boxes"]][rows] * scale[rows].repeat(1, 2)
            finished.append(self.paste(outputs[self.places["mask_probs"]][rows], mask_boxes, original_sizes))
        if self.find_keypoints is not None:
            heatmaps = outputs[self.places["keypoint_heatmaps"]][rows]
            points = self.find_keypoints(heatmaps, outputs[self.places["boxes"]][rows])
            finished.append(points * nn.functional.pad(scale[rows], [0, 1], value=1.0)[:, None])
        if self.finish_maps is not None:
            finished.extend(self.finish_maps(outputs, image_sizes, original_sizes))
        if self.merge is not None:
            masks, labels = finished[4], finished[-1]
            picture, segments = self.merge(masks, scores, torch.stack((classes, index), dim=1), labels)
            finished.extend([picture, segments])
        return finished


def _merge(spec: ModelSpec) -> MergePanoptic | None:
    rule = spec.panoptic
    if rule is None:
        return None
    (channels,) = (tensor.shape[1] for tensor in spec.outputs if tensor.name == "sem_seg")
    return MergePanoptic(
        overlap=rule.overlap, stuff_area=rule.stuff_area, score=rule.instance_score, num_labels=int(channels)
    )
