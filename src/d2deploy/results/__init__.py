"""What a model found on one image: frozen numpy, and its written forms."""

from d2deploy.results.corners import corners
from d2deploy.results.dense_pose import DensePose, DensePoseChart, DensePoseVertices
from d2deploy.results.instances import Instances, Proposals
from d2deploy.results.regions import PanopticResult, Segment, SemanticResult
from d2deploy.results.written import encode_dense_pose, encode_mask, to_coco, to_json

Result = Instances | Proposals | SemanticResult | PanopticResult
"""What a network says about an image, by its kind. Pixels are always those of the original image."""

__all__ = [
    "DensePose",
    "DensePoseChart",
    "DensePoseVertices",
    "Instances",
    "PanopticResult",
    "Proposals",
    "Result",
    "Segment",
    "SemanticResult",
    "corners",
    "encode_dense_pose",
    "encode_mask",
    "to_coco",
    "to_json",
]
