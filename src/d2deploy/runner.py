"""Numpy arrays in, numpy arrays out: the contract that every runtime meets, and the one door to them."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from d2deploy.artifact import Artifact, ModelSpec, TensorSpec, read_artifact
from d2deploy.errors import ArtifactError, InputError
from d2deploy.optional import optional

EAGER = "eager"
"""The format of a network that was never exported; it stands in no table of formats."""


class Runner(Protocol):
    """A loaded model: arrays in, arrays out."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What must be given, in this order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What comes back, in this order."""

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run one batch. Raises InputError, as check_arrays."""

    def close(self) -> None:
        """Give memory and device back. The runner must not be called afterwards."""


class Source(Protocol):
    """What can be run: an Artifact, or a network in memory (models.build.Model)."""

    @property
    def format(self) -> str:
        """Key of FORMATS, or "eager"."""

    @property
    def spec(self) -> ModelSpec:
        """Inputs, outputs, pre-processing, classes."""


def check_arrays(specs: Sequence[TensorSpec], arrays: Sequence[np.ndarray]) -> None:
    """Raises InputError when `arrays` are not what `specs` say: how many, their dtypes, their axes.

    A letter is one size in all shapes. Left to themselves, runtimes say so in a page of their own words, or cast.
    """
    takes = f"The model takes {', '.join(map(str, specs)) or 'nothing'}"
    if len(arrays) != len(specs):
        raise InputError(f"{takes}, but {len(arrays)} arrays were given. Give one for each.")
    sizes: dict[str, int] = {}
    for spec, array in zip(specs, arrays, strict=True):
        is_array = isinstance(array, np.ndarray)
        if not is_array or array.dtype != spec.dtype or not _fits(array.shape, spec.shape, sizes):
            given = f"{array.dtype}{list(array.shape)}" if is_array else type(array).__name__
            raise InputError(f"{takes}, but {spec.name} was {given}. Give arrays of that dtype and shape.")


def _fits(shape: tuple[int, ...], promised: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    """Whether a shape is as promised. `sizes`: of each letter, once it was seen."""
    return len(shape) == len(promised) and all(
        size == (sizes.setdefault(axis, size) if isinstance(axis, str) else axis)
        for size, axis in zip(shape, promised, strict=True)
    )


def to_source(source: Source | str | Path) -> Source:
    """`source` itself, or the artifact in the folder that it names. Raises ArtifactError."""
    return read_artifact(source) if isinstance(source, str | Path) else source


def open_runner(source: Source | str | Path, *, device: str = "cpu") -> Runner:
    """Load an artifact (or its folder), or an eager model, on `device` ("cpu", "cuda").

    Raises ArtifactError: no such artifact, changed files, unknown format; MissingExtra: its runtime is not installed.
    """
    source = to_source(source)
    in_memory = not isinstance(source, Artifact)
    runner: Runner = _backend(source.format, in_memory=in_memory).load(source, device)
    return runner


def _backend(format: str, *, in_memory: bool) -> ModuleType:
    # The one dynamic edge of the layers: a runner knows of formats only what their table says, by name.
    table = import_module("d2deploy.backends").FORMATS
    if format not in table and not (in_memory and format == EAGER):
        raise ArtifactError(
            f"The artifact has format {format!r}, which this d2deploy cannot run. It can run: {', '.join(table)}. "
            f"Upgrade: pip install -U d2deploy"
        )
    name, extra = (EAGER, "torch") if format == EAGER else (table[format].module, table[format].runtime_extra)
    return optional(f"d2deploy.backends.{name}", extra=extra)
