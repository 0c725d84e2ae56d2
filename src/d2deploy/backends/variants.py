"""A model with another contract: the same network, asked or answering in another form. What is exported is a variant."""

from weakref import WeakKeyDictionary

from torch import nn

from d2deploy.artifact import ModelSpec
from d2deploy.backends.capture import Exportable, Variant
from d2deploy.backends.padded import padded

_Key = tuple[ModelSpec, str]


def variant(model: Exportable, *, outputs: str = "ragged") -> Exportable:
    """`model` itself, or a variant with outputs in the form that `outputs` names. Raises ExportError."""
    if outputs == "ragged":
        return model
    made = _MADE.setdefault(model.core, {})
    key = (model.spec, outputs)
    if key not in made:
        made[key] = padded(model)
    return made[key]


# While the network lives: so that two formats are made of one and the same variant, and OpenVINO finds ONNX's graph.
_MADE: WeakKeyDictionary[nn.Module, dict[_Key, Variant]] = WeakKeyDictionary()
