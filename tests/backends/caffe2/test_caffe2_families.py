"""Every family of tests/matrix in the real Caffe2: it finds what the network finds."""

from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES, GAPS, PARTS_OF
from same import check_same

from d2deploy.errors import ExportError
from d2deploy.workflows.export import export
from d2deploy.workflows.verify import Budget

REFUSED = {
    "tensor mask": "gives mask_boxes, for which a Caffe2 net has no name",
    "dense pose, non-local": "slicing with steps",
}
RUN = [family for family in FAMILIES if family not in PARTS_OF and family not in REFUSED]
BUDGET = Budget(boxes_px=0.05, scores=1e-4, mask_iou=0.95)  # masks of random weights: see test_matrix.py


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("family", RUN)
def test_caffe2_finds_what_the_network_finds(family: str, empty: Any, tmp_path: Path) -> None:
    model, nothing = empty(family)
    artifact = export(model, "caffe2", tmp_path / "out", verify=False)
    check_same(family, model, artifact, nothing=nothing, budget=BUDGET)


def test_what_is_refused_is_declared() -> None:
    assert REFUSED.keys() == {family for family, kind in GAPS if kind == "caffe2-tracing"}


@pytest.mark.parametrize("family", REFUSED)
def test_what_cannot_be_written_is_refused_with_the_reason(family: str, empty: Any, tmp_path: Path) -> None:
    model, _ = empty(family)
    with pytest.raises(ExportError, match=REFUSED[family]):
        export(model, "caffe2", tmp_path / "out", verify=False)
    assert not list(tmp_path.iterdir())
