"""Vision transformers in small: captured at one size and run at others; every official one in full, without weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import exported_program, swapped
from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.config.zoo import zoo_models
from d2deploy.models.backbone import build_backbone
from d2deploy.models.build import build_model
from d2deploy.ops import LEAVES
from d2deploy.ops.prepare_images import PrepareImages
