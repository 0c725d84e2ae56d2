"""The artifact: a folder with the model file(s) and a manifest.json that says everything about them.

Nothing else is needed to run it: no config, no checkpoint, no torch.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from d2deploy.errors import ArtifactError
from d2deploy.writing import write_text

SCHEMA = 2  # 2: models without detections; further inputs and outputs
MANIFEST = "manifest.json"
MAX_WHOLE = 2**31  # no count, no size in pixels comes near


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
class PanopticRule:
    """How instances and semantic labels become one picture (MODEL.PANOPTIC_FPN.COMBINE). Applied after the graph."""

    overlap: float  # an instance of which more than this share is taken already is left out
    stuff_area: int  # a stuff region of fewer pixels of the original image is left out
    instance_score: float  # instances below it are left out


@dataclasses.dataclass(frozen=True, kw_only=True)
class PanopticDeepLabRule:
    """How centres, offsets and semantic labels become one picture (MODEL.PANOPTIC_DEEPLAB). Applied after the graph."""

    thing_ids: tuple[int, ...]  # channels of sem_seg that are things
    stuff_area: int  # pixels of the original image
    center_threshold: float
    nms_kernel: int  # cells of the heat map
    top_k: int  # centres
    predict_instances: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshSpec:
    """A mesh whose vertices are among vertex_embeddings (MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS)."""

    name: str  # such as smpl_27554
    num_vertices: int
    classes: tuple[int, ...]  # contiguous ids of the classes that have this body


THRESHOLD_INPUTS = (
    TensorSpec(name="score_threshold", shape=(), dtype="float32"),
    TensorSpec(name="nms_threshold", shape=(), dtype="float32"),
)
"""The last inputs of a model that is told its thresholds when it runs."""

COUNTS = {"boxes": "num_detections", "proposal_boxes": "num_proposals"}
"""In the padded form: the output of boxes -> the output that says how many of an image's rows are there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a model is to its user, whatever runs it: the same for the network and for each export of it."""

    meta_architecture: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess
    thresholds: Thresholds | None  # None: no detections
    num_classes: int  # of detections; 0: none
    class_names: tuple[str, ...]  # of detections; empty when nobody knows them
    keypoint_sigmas: tuple[float, ...] = ()  # for keypoint AP (OKS); empty: COCO's own
    sem_seg_names: tuple[str, ...] = ()  # of the channels of sem_seg; empty when nobody knows them
    panoptic: PanopticRule | None = None
    panoptic_deeplab: PanopticDeepLabRule | None = None
    meshes: tuple[MeshSpec, ...] = ()  # of vertex_embeddings, in order
    outputs_form: str = "ragged"  # "ragged": rows of all images in one list; "padded": as many rows for each image
    includes_preprocess: bool = False  # its input is one image, uint8 [H,W,3] in the channel order of `preprocess`
    includes_postprocess: bool = False  # its outputs are results on the original images

    @property
    def takes_thresholds(self) -> bool:
        """Whether score and NMS threshold are inputs, rather than fixed in the graph."""
        return self.inputs[-2:] == THRESHOLD_INPUTS

    def class_name(self, class_id: int) -> str:
        """The name of a contiguous class id; the number itself when there is no name."""
        return self.class_names[class_id] if self.class_names else str(class_id)

    def channel_name(self, class_id: int) -> str:
        """The name of a channel of sem_seg; the number itself when there is no name."""
        return self.sem_seg_names[class_id] if self.sem_seg_names else str(class_id)


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
        """The manifest in `text`. Raises TypeError or ValueError, which names the field, when it is not one."""
        manifest: Self = _typed(cls, json.loads(text), "the manifest")
        _check_ranges(manifest.spec)
        return manifest


def _typed(kind: Any, value: Any, name: str) -> Any:
    """`value`, as JSON gives it, as the annotated type `kind`. Raises ValueError that says what field is not of it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        kinds = get_type_hints(kind)
        if unknown := value.keys() - kinds.keys():
            raise ValueError(f"{name} has an unknown field {min(unknown)!r}")
        made: Any = kind  # for the type checker: a class of ours
        return made(**{key: _typed(kinds[key], item, key) for key, item in value.items()})
    if origin is UnionType:
        (fitting,) = [k for k in arguments if isinstance(value, _json_kind(k))] or [kind]
        if fitting is not kind:
            return _typed(fitting, value, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(arguments[0], item, name) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _typed(arguments[1], item, name) for key, item in value.items()}
    if kind is Any or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise ValueError(f"{name} is {str(value)[:80]!r}, which is no {getattr(kind, '__name__', kind)}")


def _json_kind(kind: Any) -> Any:
    """The type that json.loads gives for a value of `kind`."""
    return dict if dataclasses.is_dataclass(kind) else get_origin(kind) or kind


def _vertices(spec: ModelSpec) -> tuple[int | str, ...]:
    """How many vertices the model tells the embeddings of, as part of a shape."""
    return next((tensor.shape[:1] for tensor in spec.outputs if tensor.name == "vertex_embeddings"), (0,))


def _check_ranges(spec: ModelSpec) -> None:
    rule = spec.preprocess
    channels = [tensor.shape[1:2] for tensor in spec.outputs if tensor.name == "sem_seg"]
    ranges = {
        "num_classes": 0 <= spec.num_classes < MAX_WHOLE,
        "class_names": len(spec.class_names) in (0, spec.num_classes),
        "sem_seg_names": not spec.sem_seg_names or channels == [(len(spec.sem_seg_names),)],
        "meshes": all(0 < mesh.num_vertices < MAX_WHOLE for mesh in spec.meshes)
        and (sum(mesh.num_vertices for mesh in spec.meshes),) == _vertices(spec),
        "min_size": 0 <= rule.min_size < MAX_WHOLE,
        "max_size": 0 <= rule.max_size < MAX_WHOLE,
        "size_divisor": 0 <= rule.size_divisor <= 4096,
        "channel_order": rule.channel_order in ("BGR", "RGB"),
        "outputs_form": spec.outputs_form in ("ragged", "padded"),
    }
    if wrong := [name for name, ok in ranges.items() if not ok]:
        raise ValueError(f"{', '.join(wrong)} out of range")


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
        return f"{self.path}: {self.format}{f' ({options})' if options else ''}, {size / 1e6:.1f} MB"

    def with_verification(self, report: dict[str, Any]) -> "Artifact":
        """The same artifact with `report` written into its manifest."""
        manifest = dataclasses.replace(self.manifest, verification=report)
        write_text(self.path / MANIFEST, manifest.to_json())
        return Artifact(self.path, manifest)

    def with_thresholds(self, *, score: float | None = None, nms: float | None = None) -> "Artifact":
        """The same artifact, to be run with other thresholds than the manifest's; None: as it is.

        Raises ArtifactError when they are no inputs of the model.
        """
        spec = self.spec
        if spec.thresholds is None or not spec.takes_thresholds:
            raise ArtifactError(
                f"{self.path}: its thresholds are fixed. Export again, with other ones or with --threshold-inputs."
            )
        old = spec.thresholds
        new = dataclasses.replace(old, score=old.score if score is None else score, nms=old.nms if nms is None else nms)
        spec = dataclasses.replace(spec, thresholds=new)
        return Artifact(self.path, dataclasses.replace(self.manifest, spec=spec))

    def check_hashes(self) -> None:
        """Raises ArtifactError when a file is missing or not the one that was written."""
        for name, expected in self.manifest.hashes.items():
            file = self.path / name
            if not file.is_file():
                raise ArtifactError(f"{file} is missing. Export again, or copy the whole folder.")
            try:
                found = sha256(file)
            except OSError as error:
                raise ArtifactError(
                    f"{file} cannot be read: {error.strerror}. Check your rights to read it."
                ) from error
            if found != expected:
                raise ArtifactError(
                    f"{file} is not the file that was exported: its SHA-256 differs from {MANIFEST}'s. "
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
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
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
