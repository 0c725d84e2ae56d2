"""Twins of RoI heads, on rois."""

from typing import Any

import torch
from torch import Tensor, nn

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.ops.roi_align import RoIAlign
from d2deploy.ops.roi_align_rotated import RoIAlignRotated
from d2deploy.ops.roi_pool import RoIPool

ops = torch.ops.d2deploy
# A pooler's op -> Caffe2's operator.
_KINDS: dict[type, str] = {RoIAlign: "RoIAlign", RoIAlignRotated: "RoIAlignRotated", RoIPool: "RoIPool"}


class Pool(nn.Module):
    """A ROIPooler on rois[R,5 or 6]."""

    def __init__(self, pooler: Any) -> None:
        super().__init__()
        self.op, self.kind = pooler.roi_align, _KINDS[type(pooler.roi_align)]
        self.levels = pooler.min_level, pooler.max_level

    def forward(self, features: list[Tensor], rois: Tensor) -> Tensor:
        """features[L] of [N,C,H,W], rois -> [R,C,size,size]."""
        op = self.op
        sampling = getattr(op, "sampling_ratio", 0), getattr(op, "aligned", True)
        scales = [float(scale) for scale in op.scales]
        return ops.caffe2_pool(features, rois, self.kind, scales, op.size, *sampling, *self.levels)


class ForeignPool(nn.Module):
    """A pooler that is not d2deploy's ROIPooler, on rois."""

    def __init__(self, pooler: Any) -> None:
        super().__init__()
        self.pooler = pooler

    def forward(self, features: list[Tensor], rois: Tensor) -> Any:
        """What the pooler makes of boxes[R,4] and the numbers of their images."""
        return self.pooler(features, rois[:, 1:], rois[:, 0].to(torch.int64))


def pool_of(pooler: Any) -> nn.Module | None:
    """The twin of a pooler; of none, none."""
    if pooler is None:
        return None
    return Pool(pooler) if type(getattr(pooler, "roi_align", None)) in _KINDS else ForeignPool(pooler)


class Select(nn.Module):
    """A DetectionSelector: BoxWithNMSLimit."""

    def __init__(self, select: Any) -> None:
        super().__init__()
        self.rotated, self.columns = select.rotated, select.columns
        self.score_threshold = select.above.threshold
        self.nms_threshold, self.max_out = select.nms.iou_threshold, select.nms.max_out

    def forward(self, scores: Tensor, boxes: Tensor, splits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """scores[R,K+1], boxes[R,4*K or 4], splits[N] -> boxes[D,4], scores[D], classes[D], splits[N], all float32.

        Rotated boxes have five columns each.
        """
        limits = self.score_threshold, self.nms_threshold, self.max_out
        return ops.caffe2_detections(scores, boxes, splits, *limits, boxes.shape[1] == self.columns, self.rotated)


def _score(predictor: Any, hidden: Tensor) -> Tensor:
    """Scores[R,K+1] of a FastRCNNOutputLayers; the last column, the background's, is not looked at."""
    logits = predictor.cls_score(hidden)
    scores: Tensor = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=1)
    return scores


def _decode(predictor: Any, hidden: Tensor, rois: Tensor, image_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes[R,4*K or 4], rotated ones [R,5*K or 5], clipped; splits[N]."""
    decode = predictor.decode
    node = ops.caffe2_rotated_boxes if decode.rotated else ops.caffe2_boxes
    boxes, splits = node(rois, predictor.bbox_pred(hidden), image_sizes, decode.weights)
    return boxes, splits


class Surfaces(nn.Module):
    """A DensePoseBranch on rois."""

    def __init__(self, branch: Any) -> None:
        super().__init__()
        self.pooler = pool_of(branch.pooler)
        self.decoders, self.layers, self.embedders = (
            nn.ModuleList(part) for part in (branch.decoders, branch.layers, branch.embedders)
        )

    def forward(self, features: dict[str, Tensor], levels: list[Tensor], rois: Tensor) -> list[Tensor]:
        """{level: [N,C,H,W]}, those of the RoI heads, rois -> as the branch."""
        x: Any = self.pooler([decoder(features) for decoder in self.decoders] or levels, rois)  # type: ignore[misc]
        for layer in self.layers:
            x = layer(x)
        return [*x, *(embedder() for embedder in self.embedders)]


class Heads(nn.Module):
    """A ROIHeads, cascades included, on rois."""

    def __init__(self, heads: Any) -> None:
        super().__init__()
        self.in_features = heads.in_features
        self.box_pooler, self.select = pool_of(heads.box_pooler), Select(heads.select)
        self.box_head, self.box_predictor = heads.box_head, heads.box_predictor
        self.mask_pooler, self.mask_head = pool_of(heads.mask_pooler), heads.mask_head
        self.keypoint_pooler, self.keypoint_head = pool_of(heads.keypoint_pooler), heads.keypoint_head
        self.dense_pose = None if heads.dense_pose is None else Surfaces(heads.dense_pose)

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> list[Tensor]:
        """{level: [N,C,H,W]}, rois, whatever, image_sizes[N,2] -> boxes, scores, classes, splits, and the heads'."""
        levels = [features[name] for name in self.in_features]
        detections = list(self._detect(levels, proposals, image_sizes))
        boxes, _scores, classes, splits = detections
        if any(part is not None for part in (self.mask_pooler, self.keypoint_pooler, self.dense_pose)):
            rois = ops.caffe2_rois(boxes, splits)
        if self.mask_pooler is not None:
            masks = self.mask_head(self.mask_pooler(levels, rois), classes.to(torch.int64))
            detections.append(masks if masks.dim() == 4 else masks[:, None])  # one class is all there is
        if self.keypoint_pooler is not None:
            detections.append(self.keypoint_head(self.keypoint_pooler(levels, rois)))
        if self.dense_pose is not None:
            detections.extend(self.dense_pose(features, levels, rois))
        return detections

    def _detect(self, levels: list[Tensor], rois: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        is_cascade = isinstance(self.box_predictor, nn.ModuleList)
        heads: Any = self.box_head if is_cascade else [self.box_head]
        predictors: Any = self.box_predictor if is_cascade else [self.box_predictor]
        image, scores = rois[:, :1], []
        boxes = splits = rois  # of the stage before; the first has none
        for number, (head, predictor) in enumerate(zip(heads, predictors)):
            if number:
                rois = torch.cat([image, boxes], dim=1)
            hidden = head(self.box_pooler(levels, rois))  # type: ignore[misc]
            scores.append(_score(predictor, hidden))
            boxes, splits = _decode(predictor, hidden, rois, image_sizes)
        mean = scores[0] if len(scores) == 1 else sum(scores[1:], scores[0]) / len(scores)
        return self.select(mean, boxes, splits)


class Res5Heads(nn.Module):
    """A Res5ROIHeads on rois."""

    def __init__(self, heads: Any) -> None:
        super().__init__()
        self.in_features = heads.in_features
        self.pooler, self.select = Pool(heads.pooler), Select(heads.select)
        self.res5, self.box_predictor, self.mask_head = heads.res5, heads.box_predictor, heads.mask_head

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> list[Tensor]:
        """As Heads."""
        levels = [features[name] for name in self.in_features]
        hidden = self.res5(self.pooler(levels, proposals)).mean(dim=[2, 3])
        boxes, splits = _decode(self.box_predictor, hidden, proposals, image_sizes)
        detections = list(self.select(_score(self.box_predictor, hidden), boxes, splits))
        if self.mask_head is not None:
            pooled = self.pooler(levels, ops.caffe2_rois(detections[0], detections[3]))
            detections.append(self.mask_head(self.res5(pooled), detections[2].to(torch.int64)))
        return detections


class AllMasks(nn.Module):
    """A MaskRCNNConvUpsampleHead that gives the masks of every class, as detectron2's nets do."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        parts = {name: part for name, part in head.named_children() if not getattr(part, "is_alias", False)}
        for name, part in parts.items():
            self.add_module(name, part)
        self.convs = [name for name in parts if name not in ("deconv", "predictor")]

    def forward(self, pooled: Tensor, classes: Tensor) -> Tensor:
        """pooled[D,C,S,S] -> probabilities [D,K,2S,2S]; K is 1 where all classes share one mask."""
        x = pooled
        for name in self.convs:
            x = self.get_submodule(name)(x)
        x = nn.functional.relu(self.deconv(x))  # type: ignore[operator]
        logits: Tensor = self.predictor(x)  # type: ignore[operator]
        return logits.sigmoid()
