"""Import a heavy package, or say how to install it."""

from importlib import import_module
from types import ModuleType

from d2deploy.errors import MissingExtra


def optional(name: str, *, extra: str) -> ModuleType:
    """The module `name`, which `pip install 'd2deploy[extra]'` brings.

    Raises MissingExtra when the package is absent. A package that is there but broken raises its own
    ImportError: hiding that behind "not installed" would send the user the wrong way.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise MissingExtra(
            f"This needs {name.partition('.')[0]}, which is not installed. Install it: pip install 'd2deploy[{extra}]'"
        ) from None
