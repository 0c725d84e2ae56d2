"""Run a model over image files and write what it found: pictures, JSON, COCO records."""

import io
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from d2deploy.artifact import MANIFEST, MAX_WHOLE, ModelSpec
from d2deploy.draw import draw_result
from d2deploy.errors import ImageError, OutputError
from d2deploy.image import to_array
from d2deploy.predictor import Predictor
from d2deploy.results import Instances, PanopticResult, Proposals, Result, SemanticResult, to_coco, to_json
from d2deploy.runner import Source
from d2deploy.writing import check_writable, write_bytes

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image when a folder is given; a file named by itself may have any name."""
STDIN = "-"
_MANY = 12  # kinds in an image's line
_ID_DIGITS = 18  # of an id that other programs can read


@dataclass(frozen=True)
class Given:
    """An image to run on: its name in results, and its path or the bytes of a file."""

    name: str
    file: Path | bytes


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What was found, ready for json.dump, and one line of text for each image."""

    lines: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)  # results.to_json of each image
    coco: list[dict[str, Any]] = field(default_factory=list)  # results.to_coco of all images


def image_files(paths: Sequence[str | Path]) -> list[Path]:
    """The images that `paths`, files and folders, stand for; a folder's in the order of their names, not deeper.

    Raises ImageError: no such file, a folder without images, no path at all.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if (path / MANIFEST).is_file():
            raise ImageError(f"{path} is an artifact, where images must be. An artifact is given first, and alone.")
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not found:
            raise ImageError(f"{path} has no image in it ({', '.join(SUFFIXES)}). Give another folder, or image files.")
        if missing := [file for file in found if not file.is_file()]:
            raise ImageError(f"{missing[0]} does not exist or is no file. Check the path.")
        files += found
    if not files:
        raise ImageError("No image was given. Give image files or folders.")
    return files


def given_images(paths: Sequence[Path]) -> list[Given]:
    """What `paths` stand for, as image_files says; the path - stands for an image on stdin, and comes last.

    Raises ImageError, as image_files does, and for an empty stdin.
    """
    on_disk = [path for path in paths if str(path) != STDIN]
    given = [Given(str(file), file) for file in image_files(on_disk)] if on_disk else []
    if len(on_disk) == len(paths):
        return given
    if not (data := sys.stdin.buffer.read()):
        raise ImageError("stdin, which - stands for, is empty. Send an image file through it.")
    return [*given, Given(STDIN, data)]


def check_targets(files: Sequence[Path], images: Sequence[Given]) -> None:
    """Raises OutputError when a result that is to go to one of `files` would replace an image, or cannot go there."""
    originals = _originals(images)
    for file in files:
        if file.resolve() in originals:
            raise OutputError(f"{file} is one of the images and would be replaced. Choose another file.")
        check_writable(file)


def _originals(images: Sequence[Given]) -> set[Path]:
    return {given.file.resolve() for given in images if isinstance(given.file, Path)}


def predict(
    source: Source | str | Path,
    images: Sequence[Given],
    *,
    output: Path | None = None,
    min_score: float = 0.5,
    category_ids: Sequence[int] | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run `source` (an artifact, its folder, or the network) on each image, one at a time.

    `output`: where drawn pictures go: a picture file for one image, a folder for several. Of detections those of at
    least `min_score` are drawn; the records hold all. `category_ids`: the dataset ids of the classes in COCO records,
    contiguous ids when None; their images have image_ids.

    Raises ImageError, OutputError, and what Predictor raises.
    """
    targets = picture_paths(output, images) if output else [None] * len(images)
    ids_of_images = image_ids(images)
    predictions = Predictions()
    with Predictor(source, device=device) as predictor:
        spec = predictor.spec
        names = {"class_names": spec.class_names, "sem_seg_names": spec.sem_seg_names}
        ids: Sequence[int] = category_ids if category_ids is not None else range(MAX_WHOLE)
        for number, (given, target) in enumerate(zip(images, targets, strict=True), start=1):
            image = to_array(given.file)
            found = predictor(image)
            if target:
                picture = draw_result(image, found, **names, min_score=min_score)
                write_bytes(target, _encoded(picture, target.suffix))
            predictions.lines.append(f"{given.name}: {_summary(found, spec)}" + (f" -> {target}" if target else ""))
            predictions.images.append(to_json(found, **names, file=given.name))
            predictions.coco.extend(to_coco(found, image_id=ids_of_images[number - 1], category_ids=ids))
            if progress:
                progress(number, len(images))
    return predictions


def picture_paths(output: Path, images: Sequence[Given]) -> list[Path]:
    """A picture's path for each image: `output` itself for one image, else <output>/<name>.png, all different.

    Raises OutputError: several images for one picture, a picture that would replace one of the images, an ending that
    Pillow knows but cannot write photographs as.
    """
    kind = Image.registered_extensions().get(output.suffix.lower())
    is_picture = kind in Image.SAVE and not output.is_dir()
    if is_picture and len(images) > 1:
        raise OutputError(f"{output} is one picture, but {len(images)} images were given. Give a folder as --output.")
    if is_picture:
        _encoded(Image.new("RGB", (16, 16)), output.suffix)  # before the work, not after it
    paths = [output] if is_picture else [output / f"{stem}.png" for stem in _stems(images)]
    originals = _originals(images)
    if clash := [path for path in paths if path.resolve() in originals]:
        raise OutputError(f"{clash[0]} is one of the images and would be replaced. Choose another --output.")
    return paths


def _stems(images: Sequence[Given]) -> list[str]:
    stems: list[str] = []
    for given in images:
        stem = wanted = "stdin" if given.name == STDIN else Path(given.name).stem
        number = 1
        while stem in stems:
            number += 1
            stem = f"{wanted}-{number}"
        stems.append(stem)
    return stems


def image_ids(images: Sequence[Given]) -> list[int]:
    """COCO's image_id for each: its name where all names are numbers, and different ones, else its place from 1 on."""
    stems = [Path(given.name).stem for given in images]
    ids = [int(stem) for stem in stems if stem.isascii() and stem.isdigit() and len(stem) <= _ID_DIGITS]
    return ids if len(set(ids)) == len(stems) else list(range(1, len(stems) + 1))


def _encoded(picture: Image.Image, suffix: str) -> bytes:
    data = io.BytesIO()
    try:
        picture.save(data, format=Image.registered_extensions()[suffix.lower()])
    except Exception as error:  # Pillow's writers raise almost anything for what their format cannot hold
        size = f"{picture.width} x {picture.height}"
        raise OutputError(f"A picture of {size} pixels cannot be a {suffix} file: {error}. Choose .png.") from error
    return data.getvalue()


def _summary(found: Result, spec: ModelSpec) -> str:
    count, what, kinds = _SUMMARIES[type(found)](found, spec)
    more = [f"and {len(kinds) - _MANY} more"] if len(kinds) > _MANY else []
    return f"{count} {what}" + (f" ({', '.join([*kinds[:_MANY], *more])})" if kinds else "")


_Summary = tuple[int, str, list[str]]  # how many of what, and their kinds


def _detections(found: Instances, spec: ModelSpec) -> _Summary:
    names = Counter(spec.class_name(class_id) for class_id in found.pred_classes.tolist())
    return len(found), "detections", [f"{count} {name}" for name, count in names.most_common()]


def _proposals(found: Proposals, spec: ModelSpec) -> _Summary:
    return len(found), "proposals", []


def _classes(found: SemanticResult, spec: ModelSpec) -> _Summary:
    seen, pixels = np.unique(found.labels, return_counts=True)
    shares = sorted(zip((pixels / found.labels.size).tolist(), seen.tolist(), strict=True), reverse=True)
    return len(seen), "classes", [f"{share:.0%} {spec.channel_name(class_id)}" for share, class_id in shares]


def _segments(found: PanopticResult, spec: ModelSpec) -> _Summary:
    things = Counter(spec.class_name(segment.category_id) for segment in found.segments if segment.is_thing)
    stuff = [spec.channel_name(segment.category_id) for segment in found.segments if not segment.is_thing]
    return len(found.segments), "segments", [*(f"{count} {name}" for name, count in things.most_common()), *stuff]


_SUMMARIES: dict[type, Callable[[Any, ModelSpec], _Summary]] = {
    Instances: _detections,
    PanopticResult: _segments,
    Proposals: _proposals,
    SemanticResult: _classes,
}
