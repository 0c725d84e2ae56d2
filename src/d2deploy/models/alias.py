"""Loop over modules that the checkpoint names one by one."""

from collections.abc import Iterable
from typing import Any

from torch import nn


class Alias(nn.ModuleList):
    """The same modules once more, as a list: detectron2 names them fpn_lateral2, fpn_lateral3, ... in their parent.

    torch.jit.script can loop over a list but not over attribute names. The list adds nothing to the state dict.
    """

    is_alias = True  # capture takes it out of a graph

    def __init__(self, parent: nn.Module, names: Iterable[str]) -> None:
        super().__init__(parent.get_submodule(name) for name in names)

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Nothing: the parent lists these modules under their own names."""
        return {} if destination is None else destination
