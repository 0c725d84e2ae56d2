"""The way from boxes to DensePose's outputs."""

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.dense_pose.embedder import Embedder
from d2deploy.models.dense_pose.head import DensePoseHead
from d2deploy.models.dense_pose.predictor import DensePosePredictor
from d2deploy.models.pooler import BoxLevels, ROIPooler
from d2deploy.models.sem_seg_head import SemSegFPNHead, check_doublings


def add_dense_pose(roi_heads: nn.Module, config: schema.DensePoseHead, levels: BoxLevels) -> "DensePoseBranch":
    """The branch, whose layers become children of `roi_heads`: there the checkpoint has them.

    decoder, densepose_head, densepose_predictor, embedder (detectron2 DensePose, roi_heads/roi_head.py).
    """
    channels, strides = levels.channels, levels.strides
    if config.decoder is not None:
        roi_heads.add_module("decoder", _decoder(config.decoder, levels))
        channels, strides = config.decoder.out_channels, strides[:1]
    head = DensePoseHead(config, in_channels=channels)
    roi_heads.add_module("densepose_head", head)
    predictor = DensePosePredictor(config.predictor, in_channels=head.out_channels)
    roi_heads.add_module("densepose_predictor", predictor)
    if isinstance(config.predictor, schema.EmbeddingPredictor) and config.predictor.meshes:
        roi_heads.add_module("embedder", Embedder(config.predictor))
    return DensePoseBranch(roi_heads, ROIPooler(config.pooler, strides=strides))


class DensePoseBranch(nn.Module):
    """Calls layers of `roi_heads`; it has none of its own."""

    def __init__(self, roi_heads: nn.Module, pooler: ROIPooler) -> None:
        super().__init__()
        self.pooler = pooler
        self.decoders = _optional(roi_heads, "decoder")
        self.layers = Alias(roi_heads, ["densepose_head", "densepose_predictor"])
        self.embedders = _optional(roi_heads, "embedder")

    def forward(
        self, features: dict[str, Tensor], levels: list[Tensor], boxes: Tensor, image_index: Tensor
    ) -> list[Tensor]:
        """{level: [N,C,H,W]}, those of the RoI heads, boxes[D,4] input pixels, image_index[D]

        -> the outputs of the predictor, [D,channels,T,T]; and of meshes their vertices [V,E].
        """
        for decoder in self.decoders:
            levels = [decoder(features)]
        pooled = self.pooler(levels, boxes, image_index)
        found: list[Tensor] = self.layers[1](self.layers[0](pooled))
        for embedder in self.embedders:
            found.append(embedder())
        return found


def _optional(parent: nn.Module, name: str) -> Alias:
    return Alias(parent, [name] if hasattr(parent, name) else [])


def _decoder(config: schema.DensePoseDecoder, levels: BoxLevels) -> SemSegFPNHead:
    """A semantic FPN head without its last enlargement (roi_head.py, Decoder)."""
    strides = dict(zip(levels.names, levels.strides, strict=True))
    check_doublings("MODEL.ROI_DENSEPOSE_HEAD.DECODER_COMMON_STRIDE", config.common_stride, strides.items())
    return SemSegFPNHead(
        schema.SemSegFPNHead(
            in_features=levels.names,
            num_classes=config.out_channels,
            conv_dims=config.conv_dims,
            common_stride=config.common_stride,
            norm=config.norm,
        ),
        channels=dict.fromkeys(levels.names, levels.channels),
        strides=strides,
        scale=1,
    )
