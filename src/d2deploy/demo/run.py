"""The bundled checkpoint -> TorchScript and ONNX -> verified -> pictures -> one page."""

import io
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2deploy.artifact import Artifact
from d2deploy.demo.report import MARK, Column, Page, Picture, Timing
from d2deploy.draw import draw_instances
from d2deploy.image import read_image
from d2deploy.optional import optional
from d2deploy.predictor import Predictor
from d2deploy.results import Instances
from d2deploy.runner import Source
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images, sample_images
from d2deploy.workflows.verify import Report, verify
from d2deploy.writing import write_bytes, write_text, writing_to

if TYPE_CHECKING:
    from d2deploy.models.build import Model

FOLDER = Path(__file__).parent
FORMATS = {"torchscript": "TorchScript", "onnx": "ONNX"}
PAGE = "report.html"
MIN_SCORE = 0.5  # of drawn detections
RUNS = 5  # timed runs of each image, after one that is not

COMMANDS = """\
d2deploy export --config-file config.yaml --weights model_final.pth \\
    --format torchscript,onnx --sample-image street.jpg --output out/
d2deploy predict out/onnx street.jpg --output drawn.png --json result.json"""


def run_demo(output: Path, *, overwrite: bool = False, say: Callable[[str], None] = print) -> Path:
    """Run the whole line on the bundled Mask R-CNN; the path of the HTML page.

    `output` becomes a folder with report.html, pictures/ and an artifact folder for each format; that of a former
    demo is replaced, any other only with `overwrite`. `say` is told what happens, one line or table at a time.
    Raises OutputError; MissingExtra; Mismatch when an export is not proved right (the page is written and says so).
    """
    started = time.perf_counter()
    with writing_to(output, overwrite=overwrite or _is_former_demo(output)) as folder:
        say("Reading the checkpoint (trained by detectron2; 9 MB)")
        model = load_demo_model()
        exports = [_export(model, format, folder / format, say) for format in FORMATS]
        say("Drawing and timing")
        columns = [_network_column(model), *map(_export_column, exports)]
        _write(folder, model, columns)
    for name in ("pictures", *FORMATS):
        say(f"  {output / name}{os.sep}")
    say(f"Done in {time.perf_counter() - started:.0f} s. Open {output / PAGE}")
    for made in exports:
        made.report.raise_if_bad()
    return output / PAGE


def load_demo_model() -> "Model":
    """The bundled Mask R-CNN, with its class names. Raises MissingExtra without torch."""
    optional("torch", extra="torch")
    from d2deploy.models.build import load_model

    names = (FOLDER / "classes.txt").read_text(encoding="utf-8").split()
    return load_model(FOLDER / "config.yaml", FOLDER / "model_final.pth", class_names=names)


@dataclass(frozen=True, kw_only=True)
class _Export:
    artifact: Artifact
    seconds: float
    report: Report


def _export(model: "Model", format: str, folder: Path, say: Callable[[str], None]) -> _Export:
    say(f"Exporting to {FORMATS[format]}" + (", the longest step" if format == "onnx" else ""))
    start = time.perf_counter()
    # Verified below, where the report is at hand.
    artifact = export(model, format, folder, verify=False)
    seconds = time.perf_counter() - start
    say(f"Verifying {FORMATS[format]} against the network")
    report = verify(artifact, against=model, images=sample_images(None, model.spec))
    say(f"\n{report}\n")
    return _Export(artifact=artifact.with_verification(report.to_dict()), seconds=seconds, report=report)


def _network_column(model: "Model") -> Column:
    pictures, timing, load_seconds = _look(model)
    return Column(title="The network (PyTorch)", pictures=pictures, timing=timing, load_seconds=load_seconds)


def _export_column(made: _Export) -> Column:
    pictures, timing, load_seconds = _look(made.artifact)
    return Column(
        title=FORMATS[made.artifact.format],
        pictures=pictures,
        timing=timing,
        load_seconds=load_seconds,
        export_seconds=made.seconds,
        megabytes=made.artifact.file.stat().st_size / 1e6,
        report=made.report,
    )


def _look(source: Source) -> tuple[tuple[Picture, ...], Timing, float]:
    """Pictures of the demo's images, the time each took, and the time to load."""
    start = time.perf_counter()
    with Predictor(source) as predictor:
        load_seconds = time.perf_counter() - start
        images = [read_image(path) for path in demo_images()]
        found = [predictor(image) for image in images]  # the warm-up, too
        milliseconds = []
        for image in images * RUNS:
            start = time.perf_counter()
            predictor(image)
            milliseconds.append((time.perf_counter() - start) * 1000)
    pictures = tuple(
        _picture(image, instances, source.spec.class_names)
        for image, instances in zip(images, found, strict=True)
        if isinstance(instances, Instances)  # as all results of the demo's model are
    )
    return pictures, Timing(milliseconds=tuple(milliseconds)), load_seconds


def _write(folder: Path, model: "Model", columns: list[Column]) -> None:
    for name, column in zip(("network", *FORMATS), columns, strict=True):
        for path, picture in zip(demo_images(), column.pictures, strict=True):
            write_bytes(folder / "pictures" / f"{path.stem}-{name}.jpg", picture.jpeg)
    versions = {key: value for column in columns if column.report for key, value in column.report.versions.items()}
    page = Page(
        images=tuple(f"demo {path.stem}" for path in demo_images()),
        columns=tuple(columns),
        num_classes=model.spec.num_classes,
        min_score=MIN_SCORE,
        timing_note=f"{len(columns[0].timing.milliseconds)} runs after warm-up on {os.cpu_count()} cores "
        f"({platform.machine()}), every runtime with its own choice of threads",
        commands=COMMANDS,
        versions=versions,
    )
    write_text(folder / PAGE, page.to_html())


def _picture(image: np.ndarray, found: Instances, class_names: tuple[str, ...]) -> Picture:
    data = io.BytesIO()
    draw_instances(image, found, class_names, min_score=MIN_SCORE).save(data, format="JPEG", quality=88)
    return Picture(jpeg=data.getvalue(), found=len(found))


def _is_former_demo(folder: Path) -> bool:
    page = folder / PAGE
    return page.is_file() and MARK.encode() in page.read_bytes()[:200]
