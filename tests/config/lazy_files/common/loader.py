# ruff: noqa
# mypy: ignore-errors
# Read by test_lazy.py, never run.
import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.data import DatasetMapper, build_detection_test_loader
from omegaconf import OmegaConf

dataloader = OmegaConf.create()
dataloader.train = dict(mapper=dict(image_format="RGB"))
dataloader.test = L(build_detection_test_loader)(
    mapper=L(DatasetMapper)(
        augmentations=[L(T.ResizeShortestEdge)(short_edge_length=640, max_size=900)],
        image_format="${...train.mapper.image_format}",
    ),
)
