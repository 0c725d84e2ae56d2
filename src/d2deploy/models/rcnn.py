"""GeneralizedRCNN: backbone, proposals, RoI heads."""

from torch import Tensor, nn

from d2deploy.models.fpn import FPN
from d2deploy.models.res5_roi_heads import Res5ROIHeads
from d2deploy.models.resnet import ResNet
from d2deploy.models.roi_heads import ROIHeads
from d2deploy.models.rpn import RPN
from d2deploy.ops.prepare_images import PrepareImages


class GeneralizedRCNN(nn.Module):
    """The core of a two-stage detector: tensors in, tensors out."""

    def __init__(
        self,
        *,
        prepare: PrepareImages,
        backbone: FPN | ResNet,
        proposal_generator: RPN,
        roi_heads: ROIHeads | Res5ROIHeads,
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255 in the config's channel order, image_sizes[N,2] int64 -> see architecture.md.

        boxes[D,4] input pixels, scores[D], classes[D], image_index[D]; mask_probs[D,M,M], keypoint_heatmaps[D,K,H,H].
        """
        features = self.backbone(self.prepare(images, image_sizes))
        proposals, logits = self.proposal_generator(features, image_sizes)
        return self.roi_heads(features, proposals, logits, image_sizes)
