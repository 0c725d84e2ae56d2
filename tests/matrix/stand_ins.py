"""Options that change what stands around a core: on which families they are tried, and for which others those stand.

What a core finds in each kind of file is test_matrix.py's business, for all families. What is put before and after it
(backends/whole.py, finish.py) is chosen by its inputs and outputs alone, so one family for each set of those will do.
"""

# Family -> those that have its inputs and outputs, or some of them.
WHOLE: dict[str, tuple[str, ...]] = {
    "mask": (
        "c4",
        "cascade",
        "agnostic, group norm, unaligned",
        "layer norm",
        "pooled by the largest",
        "point rend",
        "implicit",
        "regnet x",
        "regnet y, batch norm",
        "ViT",
        "Swin",
        "MViT",
    ),
    "dc5": ("keypoint",),  # masks and keypoints
    "retinanet": (
        "retinanet, batch norm of each level",
        "fcos",
        "fcos, batch norm of each level",
        "cascade, sigmoid, federated",
        "deformable",
        "deformable v1",
        "layer norm, c4",
        "trident",
        "hrnet",
    ),
    "tensor mask": (),
    "rotated": ("rotated, one level, agnostic, two samples",),
    "given proposals": ("given proposals, c4",),
    "proposals": (),
    "semantic": ("point rend semantic", "deeplab v3", "deeplab v3+"),
    "panoptic": (),
    "panoptic deeplab": (),
    "dense pose": (),
    "dense pose, meshes": ("dense pose, non-local",),
}
