"""Writing the two nets: operators with readable blob names in one, every weight once in the other."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from d2deploy.backends.caffe2.messages import add_op, new_net

# numpy's name of the dtype -> the operator that fills a blob with given numbers, and Caffe2's number of the dtype
FILLS = {"float32": "GivenTensorFill", "int32": "GivenTensorIntFill", "int64": "GivenTensorInt64Fill"}
DTYPES = {"float32": 1, "int32": 2, "bool": 5, "int64": 10, "float64": 13}


class Nets:
    """model.pb and model_init.pb as they grow."""

    def __init__(self, name: str) -> None:
        self.net, self.init = new_net(name), new_net(f"{name}_init")
        self.path = ""  # the module whose operators are being written
        self.shapes: dict[str, Sequence[Any]] = {}  # blob -> sizes, some of them symbols
        self.made: dict[str, str] = {}  # steps that several lowerings share -> their blob
        self._taken: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def reserve(self, names: Sequence[str]) -> None:
        """Keep names for blobs that must have them."""
        self._taken.update(names)

    def unique(self, name: str) -> str:
        """`name`, or name_2, name_3, ... when it is taken."""
        tried, number = name, 1
        while tried in self._taken:
            number += 1
            tried = f"{name}_{number}"
        self._taken.add(tried)
        return tried

    def add(self, type: str, inputs: Sequence[str], outputs: Sequence[str], **args: Any) -> None:
        """Append an operator to the main net, named after the part of the network that is being written."""
        op = add_op(self.net, type, inputs=inputs, outputs=outputs, args=args)
        if self.path:
            op.name = self.path

    def constant(self, array: np.ndarray, name: str) -> str:
        """A blob of `array`, filled by the init net; the same numbers again are the same blob."""
        array = np.ascontiguousarray(array)
        key = (array.dtype.name, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._constants:
            self._constants[key] = self.unique(name)
            args = {"shape": list(array.shape), "values": array.ravel()}
            add_op(self.init, FILLS[array.dtype.name], inputs=[], outputs=[self._constants[key]], args=args)
        return self._constants[key]

    def finish(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Declare what goes in and comes out."""
        weights = list(self._constants.values())
        self.net.external_input.extend([*inputs, *weights])
        self.net.external_output.extend(outputs)
        self.init.external_output.extend(weights)
