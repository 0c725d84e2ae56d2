"""Every error that d2deploy raises on purpose.

D2DeployError                bad input or surroundings; the command line prints the message and exits with 2
 +- ConfigError              a config that cannot be read or does not make sense
 |   +- UnknownKey           a key that detectron2 does not have
 +- WeightsError             a checkpoint that cannot be read or does not fit; may carry the LoadReport
 +- ImageError               an image that cannot be read
 +- InputError               arrays that a model does not take: how many, which shape, which dtype
 +- DatasetError             annotations or a dataset name that cannot be used
 +- ArtifactError            an artifact folder that cannot be used: unreadable, newer schema, changed file
 +- DeviceError              a device that this machine or runtime does not have
 +- OutputError              a result that cannot be written: folder in use, disk full
 +- ExportError              a model that cannot be exported
 |   +- UnsupportedOps       ... because the format lacks an operation
 +- MissingExtra             an optional package that is not installed
 +- Mismatch                 the export is not the model, or has lost accuracy; exit code 1

Each message holds three facts: what was wrong, where, what to do.
"""

from typing import Any


class D2DeployError(Exception):
    """Base of all; `exit_code` is what the command line exits with."""

    exit_code = 2


class ConfigError(D2DeployError):
    """A config that cannot be read or does not make sense."""


class UnknownKey(ConfigError):
    """A config key that detectron2 does not have; the message holds the nearest one."""


class WeightsError(D2DeployError):
    """A checkpoint that cannot be read, or whose tensors do not fit the network; then `report` is the LoadReport."""

    report: Any = None


class ImageError(D2DeployError):
    """An image that cannot be read."""


class InputError(D2DeployError):
    """Arrays that a model does not take."""


class DatasetError(D2DeployError):
    """Annotations, images of a dataset or a dataset's name that cannot be used."""


class ArtifactError(D2DeployError):
    """An artifact folder that cannot be used."""


class DeviceError(D2DeployError):
    """A device that this machine or runtime does not have."""


class OutputError(D2DeployError):
    """A result that cannot be written."""


class ExportError(D2DeployError):
    """A model that cannot be exported."""


class UnsupportedOps(ExportError):
    """A model with operations that the format cannot express."""


class MissingExtra(D2DeployError):
    """An optional package that is not installed; the message holds the pip line."""


class Mismatch(D2DeployError):
    """An export that differs from its model by more than the budget. `report` is verify's Report, where it was it."""

    exit_code = 1
    report: Any = None
