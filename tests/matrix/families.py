"""Family x kind, and what is left out of it. docs/formats/README.md's table is made from here (`make docs`)."""

from family import Family
from lazy_families import LAZY_FAMILIES
from yaml_families import YAML_FAMILIES

from d2deploy.backends import FORMATS

FAMILIES: dict[str, Family] = {**YAML_FAMILIES, **LAZY_FAMILIES}

# OpenVINO next to ONNX: both start from the same graph, which backends/onnx keeps for its network.
KINDS = tuple(f"{row.name}-{method}" for row in FORMATS.values() if not row.is_apart for method in row.methods)

# (family, kind) -> what does not work, and why. Strict: one that works after all fails.
GAPS: dict[tuple[str, str], str] = {
    ("tensor mask", "caffe2-tracing"): "which anchor a detection comes from, and so its mask, is not told by Caffe2's "
    "operators for detectors; export says that it has no name for mask_boxes",
    ("dense pose, non-local", "caffe2-tracing"): "its product of matrices has another shape where there is no box, and "
    "export says that slicing with steps is missing; no official model has this block",
}

# Not verified on a blank image: family -> why.
PHOTOS_ONLY: dict[str, str] = {
    "agnostic, group norm, unaligned": "group norm enlarges the roundings of what hardly varies; on a blank image the "
    "network's own scores move by 9e-4 from one thread to two, and by 7e-3 after noise of 1e-5 grey levels",
}

# An ONNX graph takes half a minute to make. Families whose parts other rows have between them are only captured as
# TorchScript: family -> the rows that have its parts.
PARTS_OF: dict[str, tuple[str, ...]] = {
    "cascade, sigmoid, federated": ("cascade", "retinanet"),
    "given proposals, c4": ("given proposals", "c4"),
    "layer norm, c4": ("layer norm", "c4"),
    "rotated, one level, agnostic, two samples": ("rotated", "agnostic, group norm, unaligned"),
    "fcos, batch norm of each level": ("fcos", "retinanet, batch norm of each level"),
    "regnet x": ("regnet y, batch norm",),
}


def is_run(family: str, kind: str) -> bool:
    """Whether the matrix has a test of it."""
    return kind.startswith("torchscript") or family not in PARTS_OF


CASES = tuple((family, kind) for family in FAMILIES for kind in KINDS if is_run(family, kind))
