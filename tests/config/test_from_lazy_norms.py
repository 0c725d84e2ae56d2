"""Norms as texts, classes and functions."""

import pytest

from d2deploy.config.from_lazy.norms import TEXTS, norm_name
from d2deploy.config.lazy.read import read_lazy_config, read_lazy_yaml
from d2deploy.config.lazy.trusted import run_lazy_config
from d2deploy.models.norm import NORMS

HEAD = """
from functools import partial
import torch.nn as nn
from torch.nn import BatchNorm2d
from detectron2.layers import FrozenBatchNorm2d, NaiveSyncBatchNorm, get_norm
from detectron2.layers.batch_norm import LayerNorm
from mine import Norm
def named(c): return NaiveSyncBatchNorm(c)
model = dict(norm=%s)
"""
# The value as the file writes it -> our name; None: refused.
VALUES = {
    "None": "",
    "''": "",
    "'GN'": "GN",
    "'naiveSyncBN_N'": "naiveSyncBN",
    "'BatchNorm'": None,
    "3": None,
    "nn.BatchNorm2d": "BN",
    "BatchNorm2d": "BN",
    "nn.SyncBatchNorm": "nnSyncBN",
    "FrozenBatchNorm2d": "FrozenBN",
    "LayerNorm": "LN",
    "nn.LayerNorm": None,  # of the last axis, not of the channels
    "nn.GroupNorm": None,
    "Norm": None,
    "partial(NaiveSyncBatchNorm, stats_mode='N')": "naiveSyncBN",
    "partial(nn.BatchNorm2d, eps=1e-3)": None,
    "partial(nn.BatchNorm2d, momentum=0.01)": "BN",
    "partial(Norm)": None,
    'lambda c: NaiveSyncBatchNorm(c, stats_mode="N")': "naiveSyncBN",
    'lambda channels: NaiveSyncBatchNorm(channels,\n      stats_mode="N")': "naiveSyncBN",
    "lambda c: nn.GroupNorm(32, c)": "GN",
    "lambda c: nn.GroupNorm(16, c)": None,
    "lambda c: get_norm('BN', c)": "BN",
    "lambda c: nn.BatchNorm2d(c, eps=1e-3)": None,
    "lambda c: nn.BatchNorm2d(2 * c)": None,
    "lambda c: nn.BatchNorm2d(64)": None,
    "lambda c: Norm(c)": None,
    "lambda c: c": None,
    "lambda: NaiveSyncBatchNorm(3)": None,
}


@pytest.mark.parametrize("text", VALUES)
@pytest.mark.parametrize("read", [read_lazy_config, run_lazy_config])
def test_what_a_norm_is(text, read, tmp_path):
    (tmp_path / "config.py").write_text(HEAD % text)
    assert norm_name(read(tmp_path / "config.py").model.norm) == VALUES[text]


def test_a_function_with_a_name_is_understood_only_by_running_it(tmp_path):
    (tmp_path / "config.py").write_text(HEAD % "named")
    assert norm_name(run_lazy_config(tmp_path / "config.py").model.norm) == "naiveSyncBN"
    assert norm_name(read_lazy_config(tmp_path / "config.py").model.norm) is None


LAMBDA, FUNCTION = "!!python/name:None.%3Clambda%3E ''", "!!python/name:None.named ''"
DUMPED = {LAMBDA: "naiveSyncBN", "!!python/name:a.b.py.%3Clambda%3E ''": "naiveSyncBN", FUNCTION: None}


@pytest.mark.parametrize("text", DUMPED)
def test_a_dumped_lambda_is_a_batch_norm(text, tmp_path):
    """As in detectron2's own configs; a checkpoint of another norm lacks the running statistics."""
    (tmp_path / "config.yaml").write_text(f"model: {{_target_: a.b, norm: {text}}}")
    assert norm_name(read_lazy_yaml(tmp_path / "config.yaml").model.norm) == DUMPED[text]


def test_every_norm_can_be_built():
    assert set(TEXTS.values()) - {""} <= NORMS.keys()
