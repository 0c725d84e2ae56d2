"""TensorMask: class scores, boxes and a window of mask cells for every anchor; no proposals, nothing pooled."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.backbone import level_facts
from d2deploy.models.dense_detections import BestPairs
from d2deploy.models.rpn import AnchorGenerator
from d2deploy.models.tower import Tower
from d2deploy.ops.boxes import decode_boxes
from d2deploy.ops.found import Found
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.mask_windows import Enlarge, MaskWindows
from d2deploy.ops.prepare_images import PrepareImages


class TensorMaskHead(nn.Module):
    """Three towers, shared by all levels. That of the masks is followed by a 1x1 convolution for each window size.

    With the bipyramid, every level's mask features are enlarged to the first level's size and fused with its.
    """

    has_masks: Final[bool]
    is_bipyramid: Final[bool]

    def __init__(self, config: schema.TensorMask, *, channels: int) -> None:
        super().__init__()
        facts: dict[str, Any] = {"norm": "", "levels": len(config.in_features)}
        anchors = config.anchors.per_cell
        self.cls_subnet = Tower(channels, config.cls_dims, **facts)
        self.bbox_subnet = Tower(channels, config.bbox_dims, **facts)
        classes = config.detections.num_classes
        self.cls_score = nn.Conv2d(self.cls_subnet.out_channels, anchors * classes, kernel_size=3, padding=1)
        self.bbox_pred = nn.Conv2d(self.bbox_subnet.out_channels, anchors * 4, kernel_size=3, padding=1)
        windows = config.windows
        self.has_masks = windows is not None
        self.is_bipyramid = windows is not None and windows.is_bipyramid
        if windows is None:
            return
        self.mask_subnet = Tower(channels, windows.conv_dims, **facts)
        width = self.mask_subnet.out_channels
        names = [f"mask_pred_{size:02d}" for size in windows.sizes]
        for name, size in dict(zip(names, windows.sizes, strict=True)).items():
            self.add_module(name, nn.Conv2d(width, size * size, kernel_size=1))
        self.mask_preds = Alias(self, names)
        self.sizes = list(windows.sizes)
        self.factors = [windows.factor(level) for level in range(len(config.in_features))]
        self.read = nn.ModuleList(MaskWindows(factor=n, is_aligned=windows.is_aligned) for n in self.factors)
        if windows.is_bipyramid:
            self.mask_fuse = Tower(width, (width,), **facts)
            self.enlarge = nn.ModuleList(map(Enlarge, self.factors))

    def forward(self, feature: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """feature[N,C,H,W] of a level, counted from 0 -> logits[N,H*W*A*K], deltas[N,H*W*A,4]."""
        logits = self.cls_score(self.cls_subnet(feature, level)).permute(0, 2, 3, 1).flatten(1)
        deltas = self.bbox_pred(self.bbox_subnet(feature, level)).permute(0, 2, 3, 1).flatten(1)
        return logits, deltas.reshape(logits.shape[0], -1, 4)

    def mask_features(self, levels: list[Tensor]) -> list[Tensor]:
        """Feature levels -> what the masks of each are predicted from; with the bipyramid all as large as the first."""
        features: list[Tensor] = []
        for i in range(len(levels)):
            features.append(self.mask_subnet(levels[i], i))
        if self.is_bipyramid:
            finest = features[0]
            for i, enlarge in enumerate(self.enlarge):
                features[i] = self.mask_fuse(enlarge(features[i], finest) + finest, i)
        return features

    def masks(
        self, levels: list[Tensor], anchors: Tensor, where: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Feature levels; of detections the anchor[D,4], and where: its image[D], its level[D], its number[D] there

        -> probabilities[D,M,M] and the boxes[D,4] that they lie in.

        detectron2 pastes each detection's window, of its anchor's own size, into that anchor. Here all get the side of
        the largest, by zeros at the right and bottom, and the box of the anchor grows by as much: the cells stay where
        they are, and what is beyond a window counts as 0 in pasting anyway.
        """
        image_index, level, number = where
        place = number.div(len(self.sizes), rounding_mode="floor")
        anchor = number - place * len(self.sizes)
        features = self.mask_features(levels)
        masks, growth = anchors[:, :1, None] * 0, anchors[:, 0] * 0
        side, largest = 1, max(self.sizes) * self.factors[-1]
        for i, read in enumerate(self.read):
            for j, predict in enumerate(self.mask_preds):
                is_mine = (level == i) & (anchor == j)
                own = self.sizes[j] * self.factors[i]
                probs = read(predict(features[i]), levels[i], (image_index, place), is_mine).sigmoid()
                wanted = max(self.sizes) * self.factors[i]
                masks = torch.where(is_mine[:, None, None], _filled(probs, wanted - own), _filled(masks, wanted - side))
                growth = growth.masked_fill(is_mine, largest / own)
                side = wanted
        corner = anchors[:, :2]
        return masks, torch.cat((corner, corner + (anchors[:, 2:] - corner) * growth[:, None]), dim=1)


def _filled(masks: Tensor, more: int) -> Tensor:
    """masks[D,S,S] -> [D,S+more,S+more]."""
    return nn.functional.pad(masks, [0, more, 0, more])


class TensorMask(nn.Module):
    """The core of detectron2's project TensorMask (arch.py).

    The `topk_candidates` best (anchor, class) pairs of all levels together, above the score threshold; then class-wise
    NMS. Boxes are not clipped: detectron2 leaves that to post-processing.
    """

    def __init__(
        self,
        config: schema.TensorMask,
        *,
        prepare: PrepareImages,
        backbone: nn.Module,
        channels: int,
        strides: list[int],
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.head = TensorMaskHead(config, channels=channels)
        self.anchor_generator = AnchorGenerator(config.anchors, strides)
        self.in_features = list(config.in_features)
        self.bbox_reg_weights = config.bbox_reg_weights
        self.topk = config.topk_candidates
        self.best_pairs = BestPairs(config.detections, topk=self.topk)
        most = config.detections.detections_per_image
        self.nms = LabelledNMS(
            iou_threshold=config.detections.nms_thresh, max_out=most, num_classes=config.detections.num_classes
        )
        self.found = Found(max_out=most)

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255, image_sizes[N,2] int64

        -> boxes[D,4], scores[D], classes[D], image_index[D]; with masks mask_probs[D,M,M], mask_boxes[D,4].
        """
        features = self.backbone(self.prepare(images, image_sizes))
        levels = [features[name] for name in self.in_features]
        anchors, deltas, scores, rest = self.candidates(levels)
        # No level gives more than `topk` of the best `topk` of all.
        scores, chosen = scores.topk(self.topk, dim=1)
        anchors = anchors.gather(1, chosen[:, :, None].expand(-1, -1, 4))
        deltas = deltas.gather(1, chosen[:, :, None].expand(-1, -1, 4))
        number, classes = rest[0].gather(1, chosen), rest[1].gather(1, chosen)
        boxes = decode_boxes(deltas, anchors, self.bbox_reg_weights)
        best = self.nms(boxes, scores, classes)
        kept, kept_scores, index, image_index = self.found(best, boxes[:, None], scores[:, None])
        detections = [kept, kept_scores, classes[image_index, index], image_index]
        if self.head.has_masks:
            level = chosen[image_index, index].div(self.topk, rounding_mode="floor")
            where = (image_index, level, number[image_index, index])
            masks, mask_boxes = self.head.masks(levels, anchors[image_index, index], where)
            detections.append(masks)
            detections.append(mask_boxes)
        return detections

    def candidates(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """The `topk` best pairs of each level, B of all levels, one level after the other

        -> anchors[N,B,4], deltas[N,B,4], scores[N,B] (-inf: there are fewer); number[N,B] in the level, classes[N,B].
        """
        every_score: list[Tensor] = []
        every_delta: list[Tensor] = []
        for i in range(len(levels)):
            logits, level_deltas = self.head(levels[i], i)
            every_score.append(logits.sigmoid())
            every_delta.append(level_deltas)
        index, deltas, scores, classes = self.best_pairs(every_score, every_delta)
        anchors = torch.cat(self.anchor_generator(levels, index), dim=1)
        named = torch.cat(index, dim=1), torch.cat(classes, dim=1)
        return anchors, torch.cat(deltas, dim=1), torch.cat(scores, dim=1), named


def build_tensor_mask(config: schema.TensorMask, prepare: PrepareImages, backbone: Any) -> TensorMask:
    """The detector of `config` on `backbone`."""
    return TensorMask(config, prepare=prepare, backbone=backbone, **level_facts(backbone, config.in_features))
