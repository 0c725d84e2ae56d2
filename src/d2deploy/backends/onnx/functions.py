"""What functions of onnxscript's language are written with here: where they belong, and types for tensors of any shape.

Without [...] its types are of single numbers. The exporter takes them at their word, and works out wrong shapes for
what comes after such a function once all sizes are known, as they are of one image.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

from onnxscript import BOOL, DOUBLE, FLOAT, INT32, INT64
from onnxscript.values import Opset

FUNCTIONS = Opset("d2deploy.functions", 1)

if TYPE_CHECKING:  # type checkers take these for something else
    Bools: TypeAlias = Any
    Doubles: TypeAlias = Any
    Floats: TypeAlias = Any
    Ints: TypeAlias = Any
    Ints32: TypeAlias = Any
else:
    Bools, Doubles, Floats, Ints, Ints32 = BOOL[...], DOUBLE[...], FLOAT[...], INT64[...], INT32[...]
