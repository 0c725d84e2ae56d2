"""What is measured: full-size networks with the goldens' weights, on one large image."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
MASK_RCNN = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
HEIGHT, WIDTH = 800, 1216  # a 640 x 480 photo as detectron2 feeds it, padded
# The golden was made with 300 proposals and small images, for speed; the official config has these.
OVERRIDES = ("MODEL.RPN.POST_NMS_TOPK_TEST", "1000", "INPUT.MIN_SIZE_TEST", "800", "INPUT.MAX_SIZE_TEST", "1333")


def write_checkpoint(folder: Path, name: str = MASK_RCNN) -> None:
    """config.yaml and model_final.pth of an official model, as a user of detectron2 has them."""
    import torch

    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None and spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    golden = GOLDEN / "detectron2" / name
    arrays = weights.load_golden_state_dict(golden)
    torch.save({"model": {key: torch.from_numpy(array) for key, array in arrays.items()}}, folder / "model_final.pth")
    (folder / "config.yaml").write_text(json.loads((golden / "golden.json").read_text())["config_text"])


def network(folder: Path) -> Any:
    """The network of `write_checkpoint`'s files."""
    from d2deploy import load_model

    return load_model(folder / "config.yaml", folder / "model_final.pth", overrides=OVERRIDES)


def inputs() -> tuple[np.ndarray, np.ndarray]:
    """images float32 [1,3,800,1216] BGR, image_sizes int64 [1,2]."""
    picture = Image.open(GOLDEN / "images" / "china.png").convert("RGB").resize((WIDTH, HEIGHT))
    pixels = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32)
    return pixels[None], np.array([[HEIGHT, WIDTH]])
