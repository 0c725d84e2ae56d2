"""Every family of tests/matrix in the real Caffe2: it finds what the network finds."""

from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES, PARTS_OF, PHOTOS_ONLY
from networks import inputs_of
from shapes import ODD, check_nothing, check_shapes

from d2deploy.runner import open_runner
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images, sample_images
from d2deploy.workflows.verify import Budget, verify

RUN = [family for family in FAMILIES if family not in PARTS_OF]
BUDGET = Budget(boxes_px=0.05, scores=1e-4, mask_iou=0.95)  # masks of random weights: see test_matrix.py


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("family", RUN)
def test_caffe2_finds_what_the_network_finds(family: str, empty: Any, tmp_path: Path) -> None:
    model, nothing = empty(family)
    artifact = export(model, "caffe2", tmp_path / "out", verify=False)
    images = demo_images() if family in PHOTOS_ONLY else sample_images(demo_images()[0], model.spec)
    report = verify(artifact, against=model, images=images, budget=BUDGET)
    assert report.ok, str(report)
    assert report.total.pairs > 10
    exported, eager = open_runner(artifact), open_runner(model)
    for sizes in ODD:
        check_shapes(model, exported, eager, inputs_of(model, sizes, proposals=7))
    if nothing is not None:
        check_nothing(model, exported, eager, nothing)
    exported.close()
