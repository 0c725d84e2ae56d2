"""Nobody but a backend asks "am I being exported?": the network is one and the same in every mode."""

import ast
from pathlib import Path

import pytest

import d2deploy

ROOT = Path(d2deploy.__file__).parent
QUESTIONS = {"is_tracing", "is_scripting", "is_in_onnx_export", "is_compiling", "is_dynamo_compiling", "is_exporting"}


def questions_in(text: str) -> set[str]:
    asked = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            asked.add(node.attr)
        elif isinstance(node, ast.Name):
            asked.add(node.id)
        elif isinstance(node, ast.alias):
            asked.add(node.name.rpartition(".")[2])
    return asked & QUESTIONS


def outside_backends() -> list[Path]:
    return [p for p in sorted(ROOT.rglob("*.py")) if p.relative_to(ROOT).parts[0] != "backends"]


@pytest.mark.parametrize("path", outside_backends(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_capture_branch(path):
    assert questions_in(path.read_text()) == set()


@pytest.mark.parametrize(
    "text", ["if torch.jit.is_scripting(): pass", "from torch.jit import is_tracing as t", "x = is_in_onnx_export()"]
)
def test_the_check_can_fail(text):
    assert questions_in(text)
