"""caffe2_converter, with the command line of detectron2's tools/deploy/caffe2_converter.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from d2deploy.cli.options import ModelPath, data, network
from d2deploy.cli.progress import progress_bar
from d2deploy.cli.source import data_of, load_model
from d2deploy.errors import DeviceError, Mismatch


@click.command("caffe2_converter", context_settings={"ignore_unknown_options": True})
@network
@click.option("--output", type=ModelPath(), default="./caffe2_model", show_default=True, help="Folder of the files.")
@click.option(
    "--sample-image", type=ModelPath(), help="Image with objects, to verify with in several sizes; default: the demo's."
)
@click.option("--run-eval", is_flag=True, help="Measure the accuracy of network and nets, on the data below.")
@data
@click.option(
    "--max-drop",
    type=float,
    default=0.1,
    show_default=True,
    help="With --run-eval: points (AP, mIoU, PQ) that the nets may lose.",
)
@click.argument("overrides", nargs=-1, metavar="[KEY VALUE]...")
def converter(output: Path, overrides: tuple[str, ...], **options: Any) -> None:
    """Convert a network to Caffe2: model.pb, model_init.pb, model.pbtxt, model.svg. KEY VALUE: as in d2deploy export.

    The same as d2deploy export --format caffe2, for scripts that were written for detectron2's converter. The nets are
    for the CPU, whatever MODEL.DEVICE the config has.
    """
    from d2deploy.backends.caffe2.runtime import needed_runtime
    from d2deploy.workflows.evaluate import check_data
    from d2deploy.workflows.export import export
    from d2deploy.workflows.run_eval import run_eval

    _check_device(overrides)
    if options["run_eval"]:
        needed_runtime()
    model = load_model(options, overrides)
    ground_truth = data_of(options, model) if options["run_eval"] else None
    if ground_truth:
        check_data(model, **ground_truth)
    try:
        with progress_bar("exporting caffe2") as progress:
            artifact = export(
                model, "caffe2", output, overwrite=True, sample_image=options["sample_image"], progress=progress
            )
    except Mismatch as mismatch:
        click.echo(mismatch.report)
        raise
    click.echo(artifact)
    if ground_truth:
        with progress_bar("evaluating eager, caffe2") as progress:
            comparison = run_eval(artifact, against=model, progress=progress, **ground_truth)
        click.echo(comparison)
        comparison.raise_if_worse(options["max_drop"])


def _check_device(overrides: Sequence[str]) -> None:
    """Refuses another device than the CPU, asked for here; a config has cuda as detectron2's default."""
    asked = dict(zip(overrides[::2], overrides[1::2], strict=False)).get("MODEL.DEVICE", "cpu")
    if asked != "cpu":
        raise DeviceError(
            f"d2deploy writes Caffe2 nets for the CPU, not for {asked!r}. Give MODEL.DEVICE cpu; for a GPU, use "
            f"d2deploy export --format torchscript,onnx."
        )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run it and exit, with the codes of d2deploy."""
    from d2deploy.cli import run

    run(converter, arguments, "caffe2_converter")
