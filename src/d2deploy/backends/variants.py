"""A model with another contract: the same network, asked or answering in another form. What is exported is a variant."""

from weakref import WeakKeyDictionary

from torch import nn

from d2deploy.artifact import ModelSpec
from d2deploy.backends.capture import Exportable
from d2deploy.backends.padded import padded
from d2deploy.backends.thresholds import with_threshold_inputs

_Key = tuple[ModelSpec, str, bool]


def variant(model: Exportable, *, outputs: str = "ragged", threshold_inputs: bool = False) -> Exportable:
    """`model` itself, or a variant: `outputs` "padded" (padded.py), thresholds as inputs (thresholds.py).

    Raises ExportError where the network cannot be had in that form.
    """
    made = _MADE.setdefault(model.core, {})
    key = (model.spec, outputs, threshold_inputs)
    if key not in made:
        shaped = padded(model) if outputs == "padded" else model
        shaped = with_threshold_inputs(shaped) if threshold_inputs else shaped
        if shaped is model:
            return model
        made[key] = shaped
    return made[key]


# While the network lives: so that two formats are made of one and the same variant, and OpenVINO finds ONNX's graph.
_MADE: WeakKeyDictionary[nn.Module, dict[_Key, Exportable]] = WeakKeyDictionary()
