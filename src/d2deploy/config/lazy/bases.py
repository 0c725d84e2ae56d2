"""The configs of detectron2 that d2deploy carries, for those that are built on them: {path below configs/: text}.

Numbers: detectron2 configs/common at 02b5c4e2. A `projects/...` config has its path below detectron2's top folder.
"""

_CONSTANTS = """
constants = dict(
    imagenet_rgb256_mean=[123.675, 116.28, 103.53],
    imagenet_rgb256_std=[58.395, 57.12, 57.375],
    imagenet_bgr256_mean=[103.53, 116.28, 123.675],
    imagenet_bgr256_std=[1.0, 1.0, 1.0],
)
"""

BASES: dict[str, str] = {"common/data/constants.py": _CONSTANTS}
