"""Export: model -> format -> artifact folder, verified before it gets its name."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2deploy.artifact import MANIFEST, Artifact, read_artifact
from d2deploy.backends import FORMATS, Contract, Format, check_contract
from d2deploy.errors import ExportError, OutputError
from d2deploy.workflows.sample import Sample, sample_images
from d2deploy.workflows.verify import Budget
from d2deploy.workflows.verify import verify as verify_artifact
from d2deploy.writing import writing_to

if TYPE_CHECKING:
    from d2deploy.backends.capture import Exportable
    from d2deploy.models.build import Model


def find_format(name: str, method: str | None = None) -> tuple[Format, str]:
    """The row of FORMATS called `name` and the method to use: `method`, or the format's first.

    Raises ExportError for an unknown name, or a method that no format has. A method that only other formats have
    falls back to the format's own: `--format torchscript,onnx --method scripting` scripts the first.
    """
    if name not in FORMATS:
        raise ExportError(f"There is no format {name!r}. Formats: {', '.join(FORMATS)}.")
    methods = FORMATS[name].methods
    every = sorted({m for row in FORMATS.values() for m in row.methods})
    if method is not None and method not in every:
        raise ExportError(f"There is no method {method!r}. Methods: {', '.join(every)}.")
    return FORMATS[name], method if method in methods else methods[0]


def export(
    model: "Model",
    format: str,
    output: str | Path,
    *,
    method: str | None = None,
    outputs: str = "ragged",
    threshold_inputs: bool = False,
    include_preprocess: bool = False,
    include_postprocess: bool = False,
    signature: str = "d2deploy",
    half_weights: bool = False,
    overwrite: bool = False,
    verify: bool = True,
    sample_image: np.ndarray | str | Path | None = None,
    images: Sequence[Sample | np.ndarray | str | Path] = (),
    budget: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Artifact:
    """Write `model` as `format` into the folder `output`, and prove it against the network.

    `outputs`: "ragged", or "padded" to as many rows for each image (docs/architecture.md, The core).
    `threshold_inputs`: score_threshold and nms_threshold become inputs, with the config's values as defaults.
    `include_preprocess`, `include_postprocess`: an image in, results on it out (there, The whole way inside).
    `signature`: "d2deploy", or "detectron2": called as what its own exporter writes, TorchScript alone.
    `half_weights`: stored as float16, OpenVINO alone; verified against the network with weights rounded so.
    Verified on `images`, else on variants of `sample_image`, else of the demo's; the report goes into the manifest.
    Raises ExportError, OutputError, MissingExtra, Mismatch (not the network); `output` is then as it was.
    """
    row, method = find_format(format, method)
    contract = Contract(
        outputs=outputs,
        threshold_inputs=threshold_inputs,
        include_preprocess=include_preprocess,
        include_postprocess=include_postprocess,
        signature=signature,
        half_weights=half_weights,
    )
    check_contract(row, contract)
    backend = import_module(f"d2deploy.backends.{row.module}")
    verify = verify and not (row.is_apart and backend.unproven())  # the manifest's options say what was not shown
    _refuse_foreign(Path(output), overwrite)
    samples = (images or sample_images(sample_image, model.spec)) if verify else ()
    with writing_to(Path(output), overwrite=overwrite) as folder:
        artifact: Artifact = backend.export(_variant(model, contract), folder, method=method, **contract.of_file)
        if verify:
            report = verify_artifact(artifact, against=model, images=samples, budget=budget, progress=progress)
            report.raise_if_bad()
            artifact.with_verification(report.to_dict())
    return read_artifact(output)


def _variant(model: "Model", contract: Contract) -> "Exportable":
    from d2deploy.backends.variants import variant

    return variant(model, contract)


def _refuse_foreign(output: Path, overwrite: bool) -> None:
    """--overwrite replaces an artifact, never a folder of somebody's own files."""
    if overwrite and output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).is_file():
        raise OutputError(f"{output} is not an artifact, so it is not overwritten. Choose another --output.")
