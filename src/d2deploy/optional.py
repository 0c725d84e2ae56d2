"""Import a heavy package, or say how to install it."""

from importlib import import_module
from types import ModuleType

from d2deploy.errors import MissingExtra

# What our own modules import at their top, once `optional` has been asked for them.
HEAVY = ("torch", "onnx", "onnxscript", "onnxruntime")


def optional(name: str, *, extra: str) -> ModuleType:
    """The module `name`, which is or needs a package that `pip install 'd2deploy[extra]'` brings.

    Raises MissingExtra when the package is absent. A package that is there but broken raises its own
    ImportError: hiding that behind "not installed" would send the user the wrong way.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing not in (name.partition(".")[0], *HEAVY):
            raise
        raise MissingExtra(
            f"This needs {missing}, which is not installed. Install it: pip install 'd2deploy[{extra}]'"
        ) from None
