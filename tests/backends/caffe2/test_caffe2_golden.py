"""Full-size networks in the real Caffe2 give what the real detectron2 gave."""

import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from d2deploy.backends import capture
from d2deploy.backends.caffe2 import export
from d2deploy.postprocess import Frame, to_result
from d2deploy.results import Instances, PanopticResult
from d2deploy.runner import open_runner

MODELS = Path(__file__).parents[2] / "models"
# One image each, for speed; the other one is as near.
CASES = (
    ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", "china"),
    ("COCO-PanopticSegmentation/panoptic_fpn_R_50_3x", "noise"),
)


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"caffe2_golden_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parity, regions = _module(MODELS / "test_parity.py"), _module(MODELS / "test_parity_regions.py")
load_golden = _module(MODELS / "conftest.py").load_golden
ALLOWED = parity.Allowed(scores=1e-4, boxes_px=0.05)


@pytest.mark.parametrize(("name", "image"), CASES)
def test_detectron2_s_results(name: str, image: str, runtime: Path, load_golden: Any) -> None:
    golden = load_golden(name)
    images, sizes = (tensor.numpy() for tensor in golden.inputs(image))
    outputs = run_exported(golden, images, sizes)
    expected = {key.removeprefix(f"{image}/"): golden.arrays[key] for key in golden.arrays.files if image in key}
    parity.paired(outputs, {name: expected[f"raw/{name}"] for name in ("boxes", "scores", "classes")}, ALLOWED)

    info = golden.facts["images"][image]
    frame = Frame(input_size=tuple(sizes[0].tolist()), image_size=(info["height"], info["width"]))
    found = to_result(outputs, golden.spec, frame)
    if isinstance(found, PanopticResult):
        regions.check_logits(outputs["sem_seg"][0], sizes[0].tolist(), expected)
        regions.check_labels(found.sem_seg, expected)
        regions.check_panoptic(found, expected["pan/seg"], golden.facts["meta"][f"{image}/pan/segments_info"])
    check_instances(found.instances if isinstance(found, PanopticResult) else found, expected)


def run_exported(golden: Any, *inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What the real Caffe2 gives for a golden network, by the manifest's names."""
    with TemporaryDirectory() as folder:  # 240 MB, which pytest would keep
        artifact = export(capture.Variant(core=golden.core, spec=golden.spec, source={}), Path(folder))
        runner = open_runner(artifact)
    try:
        return dict(zip(golden.outputs, runner(*inputs), strict=True))
    finally:
        runner.close()


def check_instances(found: Any, expected: dict[str, np.ndarray]) -> None:
    assert isinstance(found, Instances) and found.pred_masks is not None
    ours = {"boxes": found.pred_boxes, "scores": found.scores, "classes": found.pred_classes}
    pairs = parity.paired(ours, {name: expected[f"det/{name}"] for name in ours}, ALLOWED)
    parity.check_masks(found.pred_masks, expected, pairs)
