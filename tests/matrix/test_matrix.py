"""Every family in every kind of file: what it finds is what the network finds."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from families import CASES, FAMILIES, GAPS, KINDS, PARTS_OF, PHOTOS_ONLY
from networks import inputs_of
from other_device import run_elsewhere
from same import check_same

from d2deploy.artifact import Artifact
from d2deploy.backends import FORMATS
from d2deploy.backends.capture import quiet
from d2deploy.errors import D2DeployError
from d2deploy.workflows.export import export
from d2deploy.workflows.verify import Budget

# A mask of random weights is noise, all border: one pixel of 70 on the other side of 0.5 is an IoU of 0.986. The
# trained models (tests/backends/test_every_format.py) keep the budget of 0.99.
BUDGET = Budget(mask_iou=0.95)


def marked(family: str, kind: str) -> Any:
    reason = GAPS.get((family, kind), "")
    gap = pytest.mark.xfail(strict=True, raises=(AssertionError, D2DeployError), reason=reason)
    return pytest.param(family, kind, marks=[gap] * bool(reason))


@pytest.mark.parametrize(("family", "kind"), [marked(*case) for case in CASES])
def test_the_export_is_the_network(
    family: str, kind: str, empty: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, nothing = empty(family)
    format, method = kind.split("-")
    with caplog.at_level(logging.INFO, "d2deploy.backends.onnx"):
        artifact = export(model, format, tmp_path / kind, method=method, verify=False)
    assert not [record for record in caplog.records if record.name.startswith("d2deploy")]  # of direct.py's long way
    check_same(family, model, artifact, nothing=nothing, budget=BUDGET)
    if format == "torchscript":
        check_devices(artifact)


def check_devices(artifact: Artifact) -> None:
    """No device is written into the file, and all that it makes is made where its inputs are."""
    with quiet():
        module = torch.jit.load(str(artifact.file))
    text = str(module.inlined_graph)
    assert len(text.splitlines()) > 300
    assert not re.findall(r"Device = prim::Constant\[value=", text)
    inputs = inputs_of(artifact, [(64, 96), (40, 50)], proposals=7)
    outputs = run_elsewhere(module, tuple(map(torch.from_numpy, inputs)))
    for output, spec in zip(outputs, artifact.spec.outputs, strict=True):
        assert str(output.dtype) == f"torch.{spec.dtype}" and output.numel() > 0


def test_what_is_left_out_is_said() -> None:
    apart = {f"{row.name}-{method}" for row in FORMATS.values() if row.is_apart for method in row.methods}
    assert all(
        reason and (case in CASES or (case[0] in FAMILIES and case[1] in apart)) for case, reason in GAPS.items()
    )
    assert all(PHOTOS_ONLY.values()) and PHOTOS_ONLY.keys() <= FAMILIES.keys()
    assert all(family in FAMILIES and others for family, others in PARTS_OF.items())
    assert {other for others in PARTS_OF.values() for other in others} <= FAMILIES.keys() - PARTS_OF.keys()
    assert {kind.partition("-")[0] for kind in KINDS} == {row.name for row in FORMATS.values() if not row.is_apart}
