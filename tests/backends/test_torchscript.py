"""What a TorchScript file must be: runnable with torch alone, free of devices."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from d2deploy.artifact import Artifact

ALONE = """
import sys, torch
module = torch.jit.load(sys.argv[1])
boxes, scores, classes, image_index, mask_probs = module(torch.zeros(2, 3, 65, 97), torch.tensor([[65, 97], [3, 5]]))
assert boxes.shape[1:] == (4,) and mask_probs.shape[1:] == (28, 28)
assert not any(name.partition(".")[0] in ("d2deploy", "torchvision") for name in sys.modules)
"""


@pytest.fixture(params=["torchscript-tracing", "torchscript-scripting"])
def torchscript(request: pytest.FixtureRequest, exported: Callable[[str], Artifact]) -> Artifact:
    return exported(request.param)


def test_runs_with_torch_alone(torchscript: Artifact, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE, str(torchscript.file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_no_device_is_baked_in(torchscript: Artifact) -> None:
    """No device constant in the graph or in a submodule's, so that a file made on a CPU runs on a GPU and back."""
    module = torch.jit.load(str(torchscript.file))
    text = str(module.inlined_graph)
    assert len(text.splitlines()) > 1000
    assert not re.findall(r"Device = prim::Constant\[value=", text)


def test_operators_are_aten(torchscript: Artifact) -> None:
    text = str(torch.jit.load(str(torchscript.file)).inlined_graph)
    assert {name.partition("::")[0] for name in re.findall(r"\b\w+::\w+(?=[\(\[])", text)} <= {"aten", "prim"}


def test_it_says_what_it_is(torchscript: Artifact) -> None:
    described = {"d2deploy.json": ""}
    torch.jit.load(str(torchscript.file), _extra_files=described)
    assert b"circle" in described["d2deploy.json"]  # type: ignore[operator]
