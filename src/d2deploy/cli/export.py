"""d2deploy export."""

import dataclasses
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from d2deploy.artifact import Artifact
from d2deploy.backends import FORMATS, OUTPUT_FORMS, SIGNATURES, Contract, check_contract
from d2deploy.cli.options import ModelPath, data, network
from d2deploy.cli.progress import progress_bar
from d2deploy.cli.source import data_of, load_model
from d2deploy.errors import Mismatch
from d2deploy.writing import check_free

if TYPE_CHECKING:
    from d2deploy.models.build import Model


@click.command("export", context_settings={"ignore_unknown_options": True})
@network
@click.option("--format", "formats", required=True, help="One or several of d2deploy formats: torchscript,onnx.")
@click.option("--method", help="How TorchScript captures the network: tracing, its default, or scripting.")
@click.option(
    "--outputs",
    type=click.Choice(OUTPUT_FORMS),
    default="ragged",
    show_default=True,
    help="ragged: one list of the rows of all images; padded: as many rows for each image, empty ones last.",
)
@click.option("--threshold-inputs", is_flag=True, help="ONNX, OpenVINO: score and NMS threshold become inputs.")
@click.option("--include-preprocess", is_flag=True, help="The export takes an image, uint8 [H,W,3], and resizes it.")
@click.option(
    "--include-postprocess", is_flag=True, help="The export gives boxes, masks and all on the original image."
)
@click.option(
    "--signature",
    type=click.Choice(SIGNATURES),
    default="d2deploy",
    show_default=True,
    help="detectron2: a TorchScript file that is called as those of detectron2's own exporter.",
)
@click.option("--half-weights", is_flag=True, help="OpenVINO: weights in 16 bits, half the size of the file.")
@click.option("--output", type=ModelPath(), required=True, help="Folder to write to; gets a folder for each format.")
@click.option("--overwrite", is_flag=True, help="Replace former exports in those folders.")
@click.option(
    "--sample-image", type=ModelPath(), help="Image with objects, to verify with in several sizes; default: the demo's."
)
@click.option(
    "--images", type=ModelPath(), multiple=True, help="Verify with these instead: a file or folder; may be repeated."
)
@click.option("--no-verify", is_flag=True, help="Do not compare the export with the network.")
@click.option("--run-eval", is_flag=True, help="Measure the accuracy of network and export, too, on the data below.")
@data
@click.option(
    "--max-drop",
    type=float,
    default=0.1,
    show_default=True,
    help="With --run-eval: points (AP, mIoU, PQ) that the export may lose.",
)
@click.argument("overrides", nargs=-1, metavar="[KEY VALUE]...")
def export_command(formats: str, overrides: tuple[str, ...], run_eval: bool, **options: Any) -> None:
    """Write a network in other formats, each verified against it.

    KEY VALUE pairs override the config: MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.5. Before them may stand the name of an
    official model (see d2deploy zoo) in place of --config-file.
    """
    from d2deploy.workflows.evaluate import check_data
    from d2deploy.workflows.export import find_format
    from d2deploy.workflows.predict import image_files

    _refuse_options(overrides)
    if len(overrides) % 2 and not options["config_file"]:
        options["config_file"], *rest = overrides
        overrides = tuple(rest)
    # Everything that can be refused is refused before the checkpoint is read.
    names = list(dict.fromkeys(find_format(name.strip(), options["method"])[0].name for name in formats.split(",")))
    contract = {field.name: options[field.name] for field in dataclasses.fields(Contract)}
    for name in names:
        check_contract(FORMATS[name], Contract(**contract))
        check_free(options["output"] / name, overwrite=options["overwrite"])
    images = image_files(options["images"]) if options["images"] else []
    model = load_model(options, overrides)
    data = data_of(options, model) if run_eval else None
    if data:
        check_data(model, **data)
    for name in names:
        artifact = _export(model, name, images, {**options, "contract": contract})
        if data:
            _run_eval(artifact, model, data, options["max_drop"])


def _export(model: "Model", format: str, images: list[Path], options: dict[str, Any]) -> Artifact:
    from d2deploy.workflows.export import export as run
    from d2deploy.workflows.verify import Report

    try:
        with progress_bar(f"exporting {format}") as progress:
            artifact = run(
                model,
                format,
                options["output"] / format,
                method=options["method"],
                **options["contract"],
                overwrite=options["overwrite"],
                verify=not options["no_verify"],
                sample_image=options["sample_image"],
                images=images,
                progress=progress,
            )
    except Mismatch as mismatch:
        click.echo(mismatch.report)
        raise
    if report := artifact.manifest.verification:
        click.echo(f"{Report.from_dict(report)}\n")
    click.echo(artifact)
    return artifact


def _run_eval(artifact: Artifact, model: "Model", data: dict[str, Any], max_drop: float) -> None:
    from d2deploy.workflows.run_eval import run_eval

    with progress_bar(f"evaluating eager, {artifact.format}") as progress:
        comparison = run_eval(artifact, against=model, progress=progress, **data)
    click.echo(comparison)
    comparison.raise_if_worse(max_drop)


def _refuse_options(overrides: Sequence[str]) -> None:
    """Values may begin with a dash (-1); what stands where a key should is a misspelt option."""
    context = click.get_current_context()
    known = [name for parameter in context.command.params for name in parameter.opts]
    for key in overrides[::2]:
        if key.startswith("-"):
            raise click.NoSuchOption(key, possibilities=get_close_matches(key, known), ctx=context)
