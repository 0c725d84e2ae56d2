"""A model with another contract: the same network, asked or answering in another form."""

import dataclasses
from weakref import WeakKeyDictionary

from torch import nn

from d2deploy.artifact import ModelSpec
from d2deploy.backends import Contract
from d2deploy.backends.capture import Exportable
from d2deploy.backends.half_weights import with_half_weights
from d2deploy.backends.padded import padded
from d2deploy.backends.thresholds import with_threshold_inputs
from d2deploy.backends.whole import whole


def variant(model: Exportable, contract: Contract) -> Exportable:
    """`model` with that contract; itself where the contract is the core's own.

    Raises ExportError where the network cannot be had in that form.
    """
    if contract.half_weights:
        model, contract = with_half_weights(model), dataclasses.replace(contract, half_weights=False)
    if not {*contract.changes} - {"signature"}:  # that is its file's (signature.py), not the core's
        return model
    made = _MADE.setdefault(model.core, {})
    key = (model.spec, contract)
    if key not in made:
        shaped = padded(model) if contract.outputs == "padded" else model
        if contract.include_preprocess or contract.include_postprocess:
            shaped = whole(shaped, preprocess=contract.include_preprocess, postprocess=contract.include_postprocess)
        made[key] = with_threshold_inputs(shaped) if contract.threshold_inputs else shaped
    return made[key]


# While the network lives: so that two formats are made of one and the same variant, and OpenVINO finds ONNX's graph.
# No variant holds the network itself: each is made of a copy, or a network would live as long as its variants.
_MADE: WeakKeyDictionary[nn.Module, dict[tuple[ModelSpec, Contract], Exportable]] = WeakKeyDictionary()
