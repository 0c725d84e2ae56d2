"""Twins of a network's composite parts, in which Caffe2's own operators stand for many small ones.

A part says by its class attribute `composite` which it is: formats do not import networks. A twin has its part's
parameters under the same names. Between the twins proposals are `rois` (nodes.py), a list as long as it needs to be,
where the network has a fixed number of rows an image and a logit of -inf for "none".
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.capture import OPAQUE, fold_norms, swapped
from d2deploy.errors import UnsupportedOps
from d2deploy.ops.prepare_images import PrepareImages

ops = torch.ops.d2deploy


def caffe2_core(core: nn.Module) -> nn.Module:
    """A copy of `core` with twins in place of what Caffe2 has operators for, norms folded. Weights are shared."""
    outer = nn.Module()
    outer.core = core
    made = outer
    for _depth in range(3):  # a twin's own parts are swapped one round later
        # Not inherited: what a user's subclass does differently is not known here.
        types = {type(module): vars(type(module)).get("composite") for module in made.modules()}
        twins = {kind: TWINS[name] for kind, name in types.items() if name in TWINS}
        made = swapped(made, {**OPAQUE, PrepareImages: Prepare, **twins})
    core = made.core  # type: ignore[assignment]
    _check(core)
    return fold_norms(core)


def _check(core: nn.Module) -> None:
    """Raises UnsupportedOps where one half of a detector would speak of rois and the other would not."""
    kinds = {type(module) for module in core.modules()}
    if bool({Proposals} & kinds) != bool({Heads, Res5Heads} & kinds):
        raise UnsupportedOps(
            "Caffe2 cannot express this model: its operators join proposals and RoI heads, so both must be d2deploy's "
            "own (RPN with StandardROIHeads, CascadeROIHeads or Res5ROIHeads). Choose another --format."
        )


class Prepare(nn.Module):
    """A PrepareImages, as one node."""

    def __init__(self, op: PrepareImages) -> None:
        super().__init__()
        if op.square_size:
            raise UnsupportedOps(
                "Caffe2 cannot express this model: its backbone wants a square, as vision transformers do. "
                "Choose another --format."
            )
        self.mean, self.std, self.divisor = op.mean, op.std, op.size_divisor

    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """See ops/prepare_images.py."""
        return ops.caffe2_prepare(images, image_sizes, self.mean, self.std, self.divisor)


class Proposals(nn.Module):
    """An RPN: its head, then GenerateProposals. Gives rois[R,5] twice, in place of boxes and logits."""

    def __init__(self, rpn: Any) -> None:
        super().__init__()
        if rpn.decode.rotated:
            raise UnsupportedOps("d2deploy does not write rotated proposals for Caffe2. Choose another --format.")
        self.rpn_head = rpn.rpn_head
        self.in_features, self.pre_nms = rpn.in_features, rpn.pre_nms_topk
        self.post_nms, self.nms_threshold = rpn.nms.max_out, rpn.nms.iou_threshold
        # Caffe2 keeps sides of at least min_size; the network those above.
        self.min_size = max(math.nextafter(rpn.min_box_size, math.inf), 1e-30)
        self.weights = rpn.decode.weights
        self.strides, self.cells = _anchors(list(rpn.anchor_generator.levels))

    def forward(self, features: dict[str, Tensor], image_sizes: Tensor) -> tuple[Tensor, Tensor]:
        """See models/rpn.py."""
        logits: list[Tensor] = []
        deltas: list[Tensor] = []
        for name in self.in_features:
            hidden = self.rpn_head.conv(features[name])
            logits.append(self.rpn_head.objectness_logits(hidden))
            deltas.append(self._unweighted(self.rpn_head.anchor_deltas(hidden)))
        rois = ops.caffe2_proposals(
            logits,
            deltas,
            image_sizes,
            self.cells,
            self.strides,
            self.pre_nms,
            self.post_nms,
            self.nms_threshold,
            self.min_size,
        )
        return rois, rois

    def _unweighted(self, deltas: Tensor) -> Tensor:
        if all(weight == 1 for weight in self.weights):
            return deltas
        weights = torch.tensor(self.weights).repeat(deltas.shape[1] // 4)
        return deltas / weights[:, None, None]


class Pool(nn.Module):
    """A ROIPooler on rois[R,5]."""

    def __init__(self, pooler: Any) -> None:
        super().__init__()
        self.op = getattr(pooler, "roi_align", pooler)
        if not hasattr(self.op, "aligned"):
            raise UnsupportedOps(
                f"d2deploy does not write pooling by {type(self.op).__name__} for Caffe2, only RoIAlign. "
                f"Choose another --format."
            )
        self.levels = pooler.min_level, pooler.max_level

    def forward(self, features: list[Tensor], rois: Tensor) -> Tensor:
        """features[L] of [N,C,H,W], rois[R,5] -> [R,C,size,size]."""
        op = self.op
        scales = [float(scale) for scale in op.scales]
        return ops.caffe2_pool(features, rois, scales, op.size, op.sampling_ratio, op.aligned, *self.levels)


class Select(nn.Module):
    """A DetectionSelector: BoxWithNMSLimit."""

    def __init__(self, select: Any) -> None:
        super().__init__()
        self.score_threshold = select.above.threshold
        self.nms_threshold, self.max_out = select.nms.iou_threshold, select.nms.max_out

    def forward(self, scores: Tensor, boxes: Tensor, splits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """scores[R,K+1], boxes[R,4*K or 4], splits[N] -> boxes[D,4], scores[D], classes[D], splits[N], all float32."""
        agnostic = boxes.shape[1] == 4
        return ops.caffe2_detections(
            scores, boxes, splits, self.score_threshold, self.nms_threshold, self.max_out, agnostic
        )


def _score(predictor: Any, hidden: Tensor) -> Tensor:
    """Scores[R,K+1] of a FastRCNNOutputLayers; the last column, the background's, is not looked at."""
    logits = predictor.cls_score(hidden)
    scores: Tensor = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=1)
    return scores


class Heads(nn.Module):
    """A ROIHeads, cascades included, on rois."""

    def __init__(self, heads: Any) -> None:
        super().__init__()
        if heads.select.rotated:
            raise UnsupportedOps("d2deploy does not write rotated boxes for Caffe2. Choose another --format.")
        self.in_features = heads.in_features
        self.box_pooler, self.select = Pool(heads.box_pooler), Select(heads.select)
        self.box_head, self.box_predictor = heads.box_head, heads.box_predictor
        self.mask_pooler = None if heads.mask_pooler is None else Pool(heads.mask_pooler)
        self.mask_head = heads.mask_head
        self.keypoint_pooler = None if heads.keypoint_pooler is None else Pool(heads.keypoint_pooler)
        self.keypoint_head = heads.keypoint_head

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> list[Tensor]:
        """{level: [N,C,H,W]}, rois[R,5] twice, image_sizes[N,2] -> boxes, scores, classes, splits, and the heads'."""
        levels = [features[name] for name in self.in_features]
        detections = list(self._detect(levels, proposals, image_sizes))
        boxes, _scores, classes, splits = detections
        if self.mask_pooler is not None or self.keypoint_pooler is not None:
            rois = ops.caffe2_rois(boxes, splits)
        if self.mask_pooler is not None:
            detections.append(self.mask_head(self.mask_pooler(levels, rois), classes))
        if self.keypoint_pooler is not None:
            detections.append(self.keypoint_head(self.keypoint_pooler(levels, rois)))
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
            hidden = head(self.box_pooler(levels, rois))
            scores.append(_score(predictor, hidden))
            boxes, splits = ops.caffe2_boxes(rois, predictor.bbox_pred(hidden), image_sizes, predictor.decode.weights)
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
        deltas = self.box_predictor.bbox_pred(hidden)
        boxes, splits = ops.caffe2_boxes(proposals, deltas, image_sizes, self.box_predictor.decode.weights)
        detections = list(self.select(_score(self.box_predictor, hidden), boxes, splits))
        if self.mask_head is not None:
            pooled = self.pooler(levels, ops.caffe2_rois(detections[0], detections[3]))
            detections.append(self.mask_head(self.res5(pooled), detections[2]))
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


class DenseDetector(nn.Module):
    """A RetinaNet: its head, then one node for everything after it, anchors included."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.prepare, self.backbone, self.head = network.prepare, network.backbone, network.head
        self.in_features, self.weights = network.in_features, list(network.bbox_reg_weights)
        grids = list(network.anchor_generator.levels)
        self.strides, self.cells = _anchors(grids)
        self.topk, self.num_classes = network.best_pairs.topk, network.best_pairs.num_classes
        self.score_threshold = network.best_pairs.above.threshold
        self.nms_threshold, self.max_out = network.select.nms.iou_threshold, network.select.nms.max_out

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W], image_sizes[N,2] -> boxes[D,4], scores[D], classes[D], splits[N], all float32."""
        features = self.backbone(self.prepare(images, image_sizes))
        logits: list[Tensor] = []
        deltas: list[Tensor] = []
        for level, name in enumerate(self.in_features):
            logits.append(self.head.cls_score(self.head.cls_subnet(features[name], level)))
            deltas.append(self.head.bbox_pred(self.head.bbox_subnet(features[name], level)))
        found = ops.caffe2_dense(
            logits,
            deltas,
            image_sizes,
            self.cells,
            self.strides,
            self.weights,
            self.num_classes,
            self.topk,
            self.score_threshold,
            self.nms_threshold,
            self.max_out,
        )
        return list(found)


def _anchors(grids: list[Any]) -> tuple[list[int], list[float]]:
    """Strides of the levels, and corners of each level's anchors of the first cell, one after the other."""
    strides = [grid.stride for grid in grids]
    return strides, [corner + grid.offset * grid.stride for grid in grids for anchor in grid.cell for corner in anchor]


TWINS: dict[str, Callable[[Any], nn.Module]] = {
    "RPN": Proposals,
    "ROIHeads": Heads,
    "Res5ROIHeads": Res5Heads,
    "MaskRCNNConvUpsampleHead": AllMasks,
    "RetinaNet": DenseDetector,
}
