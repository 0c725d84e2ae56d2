"""The artifact: a folder with the model file(s) and a manifest.json that says everything about them.

Nothing else is needed to run it: no config, no checkpoint, no torch.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from d2deploy.errors import ArtifactError, OutputError

SCHEMA = 1
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, shape and dtype (numpy's name) of one input or output; a string in the shape names a free axis."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How an image file becomes the input tensor: detectron2's ResizeShortestEdge, then right/bottom padding.

    `pixel_mean` and `pixel_std` are applied inside the graph and stand here for information.
    """

    min_size: int  # shorter edge after resizing, pixels; 0: no resizing
    max_size: int  # cap on the longer edge, pixels
    channel_order: str  # "BGR" or "RGB"
    size_divisor: int  # height and width of the input tensor are multiples of it
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What the graph has already applied: score and NMS thresholds, detections per image."""

    score: float
    nms: float
    max_detections: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a model is to its user, whatever runs it: the same for the network and for each export of it."""

    meta_architecture: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess
    thresholds: Thresholds
    num_classes: int
    class_names: tuple[str, ...]  # empty when nobody knows them

    def class_name(self, class_id: int) -> str:
        """The name of a contiguous class id; the number itself when there is no name."""
        return self.class_names[class_id] if self.class_names else str(class_id)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of manifest.json."""

    schema: int = SCHEMA
    format: str  # key of FORMATS
    file: str  # the model file, relative to the folder
    spec: ModelSpec
    hashes: dict[str, str]  # file -> sha256
    made_with: dict[str, str]  # package -> version
    source: dict[str, str]  # config and weights: names and sha256
    options: dict[str, str]  # format-specific: method, opset
    verification: dict[str, Any] | None = None  # the report of the last verify; None: never verified

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The manifest in `text`. Raises KeyError, TypeError or ValueError when it is not one."""
        fields = json.loads(text)
        return cls(**{**fields, "spec": _spec(fields["spec"])})


def _spec(fields: dict[str, Any]) -> ModelSpec:
    def tensors(key: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(**{**t, "shape": tuple(t["shape"])}) for t in fields[key])

    preprocess: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields["preprocess"].items()}
    return ModelSpec(
        **{
            **fields,
            "inputs": tensors("inputs"),
            "outputs": tensors("outputs"),
            "preprocess": Preprocess(**preprocess),
            "thresholds": Thresholds(**fields["thresholds"]),
            "class_names": tuple(fields["class_names"]),
        }
    )


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An artifact folder on disk, its manifest read."""

    path: Path
    manifest: Manifest

    @property
    def format(self) -> str:
        """Key of FORMATS."""
        return self.manifest.format

    @property
    def spec(self) -> ModelSpec:
        """Inputs, outputs, pre-processing, classes."""
        return self.manifest.spec

    @property
    def file(self) -> Path:
        """The model file."""
        return self.path / self.manifest.file

    def __str__(self) -> str:
        size = sum((self.path / name).stat().st_size for name in self.manifest.hashes)
        options = ", ".join(f"{k} {v}" for k, v in self.manifest.options.items())
        return f"{self.path}: {self.format} ({options}), {size / 1e6:.1f} MB"

    def with_verification(self, report: dict[str, Any]) -> "Artifact":
        """The same artifact with `report` written into its manifest."""
        manifest = dataclasses.replace(self.manifest, verification=report)
        write_text(self.path / MANIFEST, manifest.to_json())
        return Artifact(self.path, manifest)

    def check_hashes(self) -> None:
        """Raises ArtifactError when a file is missing or not the one that was written."""
        for name, expected in self.manifest.hashes.items():
            if not (self.path / name).is_file():
                raise ArtifactError(f"{self.path / name} is missing. Export again, or copy the whole folder.")
            if sha256(self.path / name) != expected:
                raise ArtifactError(
                    f"{self.path / name} is not the file that was exported: its SHA-256 differs from {MANIFEST}'s. "
                    f"Export again, or copy the folder again."
                )


def write_artifact(folder: Path, **fields: Any) -> Artifact:
    """Hash the files that lie in `folder`, write the manifest beside them. Keyword arguments: Manifest's fields."""
    hashes = {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    manifest = Manifest(hashes=hashes, **fields)
    write_text(folder / MANIFEST, manifest.to_json())
    return Artifact(folder, manifest)


def read_artifact(path: str | Path) -> Artifact:
    """The artifact in folder `path`, its files checked against their hashes.

    Raises ArtifactError: no such folder, no manifest, unreadable, newer schema, changed file.
    """
    path = Path(path)
    file = path / MANIFEST
    if not file.is_file():
        raise ArtifactError(
            f"{path} is not an artifact: it has no {MANIFEST}. Give the folder that export wrote, such as out/onnx."
        )
    try:
        text = file.read_text(encoding="utf-8")
        schema = int(json.loads(text)["schema"])
        if schema > SCHEMA:
            raise ArtifactError(
                f"{file} has schema {schema}; this d2deploy reads up to {SCHEMA}. Upgrade: pip install -U d2deploy"
            )
        manifest = Manifest.from_json(text)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{file} cannot be read as a manifest ({error!r}). Export again.") from error
    if manifest.file not in manifest.hashes or any(not _is_inside(name) for name in manifest.hashes):
        raise ArtifactError(f"{file} names files outside its folder, or a model file without a hash. Export again.")
    artifact = Artifact(path, manifest)
    artifact.check_hashes()
    return artifact


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(target: Path, *, overwrite: bool = False) -> None:
    """Raises OutputError when folder `target` is in use and not to be overwritten."""
    with refusals_named(target):
        in_use = target.is_file() or (target.is_dir() and any(target.iterdir()) and not overwrite)
    if in_use:
        raise OutputError(f"{target} is not empty. Choose another --output, or add --overwrite to replace it.")


@contextmanager
def writing_to(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new empty folder beside `target` that becomes `target` when the block ends well, and vanishes when not.

    Raises OutputError when `target` is in use and not to be overwritten, or when the disk refuses.
    """
    check_free(target, overwrite=overwrite)
    with refusals_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with refusals_named(target):
            yield beside
            if target.exists():
                shutil.rmtree(target)
            beside.chmod(0o777 & ~_umask())
            beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none of it. Raises OutputError when the disk refuses."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or none of it. Raises OutputError when the disk refuses."""
    with refusals_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to write into an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}. Free some space or choose another --output."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
