"""DensePose, a project of detectron2: where on a body's surface each pixel of a detection lies."""

from dataclasses import dataclass

from d2deploy.config.schema.pooler import Pooler


@dataclass(frozen=True, kw_only=True)
class DensePoseDecoder:
    """MODEL.ROI_DENSEPOSE_HEAD.DECODER_*: all feature levels become one, which boxes are then pooled from."""

    out_channels: int  # DECODER_NUM_CLASSES; they are features, not classes
    conv_dims: int
    norm: str
    common_stride: int


@dataclass(frozen=True, kw_only=True)
class ChartPredictor:
    """DensePosePredictors that give a body part for each cell, and coordinates u, v on it."""

    num_coarse: int  # NUM_COARSE_SEGM_CHANNELS: 2, or 15 of old models; the first is background
    num_patches: int  # parts of the body's surface, without background
    deconv_kernel: int
    up_scale: int
    uv_confidence: str  # "": none; "iid_iso" or "indep_aniso"
    segm_confidence: bool
    segm_epsilon: float  # SEGM_CONFIDENCE.EPSILON: added to both confidences of the segmentation


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """One of MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS: the vertices of a body, each with a place among embeddings."""

    name: str
    num_vertices: int
    feature_dim: int  # of TYPE vertex_feature; 0: vertex_direct, which has embeddings alone
    classes: tuple[int, ...]  # that have this body: DATASETS.CLASS_TO_MESH_NAME_MAPPING


@dataclass(frozen=True, kw_only=True)
class EmbeddingPredictor:
    """DensePoseEmbeddingPredictor (CSE): a place among the embeddings of a mesh's vertices for each cell."""

    num_coarse: int
    embed_size: int
    deconv_kernel: int
    up_scale: int
    meshes: tuple[Mesh, ...]


@dataclass(frozen=True, kw_only=True)
class DensePoseHead:
    """MODEL.ROI_DENSEPOSE_HEAD.*"""

    pooler: Pooler
    decoder: DensePoseDecoder | None
    is_deeplab: bool  # DensePoseDeepLabHead: pyramid pooling before the convolutions
    use_nonlocal: bool  # DEEPLAB.NONLOCAL_ON
    norm: str  # DEEPLAB.NORM of the convolutions: "GN" or ""
    conv_dims: tuple[int, ...]
    kernel_size: int
    predictor: ChartPredictor | EmbeddingPredictor

    @property
    def side(self) -> int:
        """Cells a side of what is predicted: a transposed convolution doubles, then UP_SCALE enlarges."""
        kernel, pooled = self.predictor.deconv_kernel, self.pooler.resolution
        return (2 * (pooled - 1) + kernel - 2 * (kernel // 2 - 1)) * self.predictor.up_scale
