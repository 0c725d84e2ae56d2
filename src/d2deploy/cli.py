"""One command a verb: parses, calls, prints; decides nothing. Results go to stdout, progress and errors to stderr."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from tabulate import tabulate

from d2deploy import __version__
from d2deploy.artifact import Artifact, check_free, check_writable, read_artifact, write_text
from d2deploy.errors import D2DeployError, Mismatch

if TYPE_CHECKING:
    from d2deploy.models.build import Model

INTERRUPTED = 130
STDIO = Path("-")
Command = Callable[..., Any]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 fine, 1 an export that is not the model, 2 bad input, 130 interrupted."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold what it cannot show; stderr does so already
    try:
        code = cli.main(arguments, prog_name="d2deploy", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except (D2DeployError, click.ClickException, OSError, MemoryError, RuntimeError) as error:
        code = _refused(error)
    sys.exit(code or 0)


def _refused(error: Exception) -> int:
    """Prints an error's one line, gives its exit code; what is a bug and no refusal keeps its traceback."""
    message = str(error)
    if isinstance(error, click.ClickException):
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help itself; click has it since 8.2
            error.show()
            return error.exit_code
        context = getattr(error, "ctx", None)
        message = error.format_message() + (f" See {context.command_path} --help." if context else "")
    elif isinstance(error, OSError):  # the surroundings, where nothing foresaw it: rights, a name too long, a full disk
        message = f"{error.filename or 'A file or stream'}: {error.strerror or error}. Check path, rights and space."
    elif isinstance(error, MemoryError) or re.search("allocate memory|out of memory|bad_alloc", message):
        message = "The memory does not suffice. Give smaller images, or a smaller INPUT.MAX_SIZE_TEST."
    elif not isinstance(error, D2DeployError):
        raise error
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return getattr(error, "exit_code", 2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="d2deploy")
def cli() -> None:
    """Export detectron2 checkpoints, without detectron2, and prove that the export is right."""


class _Path(click.Path):
    """A path that d2deploy itself checks: its messages say what to do."""

    def __init__(self, kind: type = Path) -> None:
        super().__init__(path_type=kind, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("The path is empty. Is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_config = click.option("--config-file", type=_Path(), help="The detectron2 config (YAML).")
# As text: a Path makes one slash of the two in an address.
_weights = click.option("--weights", type=_Path(str), help="The checkpoint; default: the config's MODEL.WEIGHTS.")
_class_names = click.option("--class-names", help="a,b,c, or a file: one name a line, or a COCO json.")
_device = click.option("--device", default="cpu", show_default=True, help="Where to run: cpu, cuda.")
_set = click.option("-o", "--opts", nargs=2, multiple=True, metavar="KEY VALUE", help="Override a config key.")
_network = _options(_config, _weights, _class_names, _set)
_data = _options(
    click.option("--coco-json", type=_Path(), help="COCO annotations to measure AP on."),
    click.option("--image-root", type=_Path(), help="The folder that their file names start from."),
    click.option("--dataset", help="Or a detectron2 name (coco_2017_val), found below $DETECTRON2_DATASETS."),
    click.option("--limit", type=click.IntRange(min=1), help="The first images only."),
)


@cli.command(context_settings={"ignore_unknown_options": True})
@_network
@click.option("--format", "formats", required=True, help="One or several: torchscript,onnx.")
@click.option("--method", help="How torch captures the network; see d2deploy formats.")
@click.option("--output", type=_Path(), required=True, help="Gets a folder for each format.")
@click.option("--overwrite", is_flag=True, help="Replace what is in those folders.")
@click.option("--sample-image", type=_Path(), help="An image with objects, to verify the export with.")
@click.option("--images", type=_Path(), multiple=True, help="Verify with these instead: files or folders.")
@click.option("--no-verify", is_flag=True, help="Do not compare the export with the network.")
@click.option("--run-eval", is_flag=True, help="Measure the AP of both, too, on the images below.")
@_data
@click.option("--max-drop", type=float, default=0.1, show_default=True, help="AP points that may be lost.")
@click.argument("overrides", nargs=-1, metavar="[KEY VALUE]...")
def export(formats: str, overrides: tuple[str, ...], run_eval: bool, **options: Any) -> None:
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
    for name in names:
        check_free(options["output"] / name, overwrite=options["overwrite"])
    images = image_files(options["images"]) if options["images"] else []
    model = _load_model(options, overrides)
    data = _data_of(options, model) if run_eval else None
    if data:
        check_data(model, **data)
    for name in names:
        artifact = _export(model, name, images, options)
        if data:
            _run_eval(artifact, model, data, options["max_drop"])


def _export(model: "Model", format: str, images: list[Path], options: dict[str, Any]) -> Artifact:
    from d2deploy.workflows.export import export as run
    from d2deploy.workflows.verify import Report

    try:
        with _progress(f"exporting {format}") as progress:
            artifact = run(
                model,
                format,
                options["output"] / format,
                method=options["method"],
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

    with _progress(f"evaluating eager, {artifact.format}") as progress:
        comparison = run_eval(artifact, against=model, progress=progress, **data)
    click.echo(comparison)
    comparison.raise_if_worse(max_drop)


@cli.command()
@click.argument("artifact", type=_Path())
@_network
@click.option("--images", type=_Path(), multiple=True, help="Files or folders; default: a small varied set.")
@click.option("--sample-image", type=_Path(), help="Instead: one image, of which that set is made.")
@_device
def verify(artifact: Path, images: tuple[Path, ...], sample_image: Path | None, **options: Any) -> None:
    """Compare an artifact with the network that it was made from."""
    from d2deploy.workflows.predict import image_files
    from d2deploy.workflows.sample import sample_images
    from d2deploy.workflows.verify import verify as run

    exported = read_artifact(artifact)
    files = image_files(images) if images else []
    model = _load_model(options)
    with _progress("verifying") as progress:
        report = run(
            exported,
            against=model,
            images=files or sample_images(sample_image, model.spec),
            progress=progress,
            device=options["device"],
        )
    click.echo(report)
    exported.with_verification(report.to_dict())
    report.raise_if_bad()


@cli.command()
@click.argument("artifact", type=_Path(), required=False)
@_network
@_data
@click.option("--json", "json_file", type=_Path(), help="Write the numbers there; - for stdout.")
@_device
def evaluate(artifact: Path | None, json_file: Path | None, **options: Any) -> None:
    """Measure the COCO AP of an artifact, or of the network (--config-file)."""
    from d2deploy.workflows.evaluate import evaluate as run

    if json_file and json_file != STDIO:
        check_writable(json_file)
    source = _source(artifact, options)
    data = _data_of(options, source)
    with _progress("evaluating") as progress:
        evaluation = run(source, progress=progress, device=options["device"], **data)
    if json_file != STDIO:
        click.echo(evaluation.metrics)
    _write_json(json_file, evaluation.metrics.to_json(), indent=1)


@cli.command()
@click.argument("paths", nargs=-1, type=_Path(), metavar="[ARTIFACT] IMAGES...")
@_network
@click.option("--output", type=_Path(), help="Drawn: a picture file for one image, a folder for several.")
@click.option("--min-score", type=float, default=0.5, show_default=True, help="Draw detections from here up.")
@click.option("--json", "json_file", type=_Path(), help="Write all detections there; - for stdout.")
@click.option("--coco-json", type=_Path(), help="The same as COCO records, category_id from 0 on; - for stdout.")
@_device
def predict(paths: tuple[Path, ...], json_file: Path | None, coco_json: Path | None, **options: Any) -> None:
    """Detect objects on images: files, folders, or - for an image on stdin.

    The first path is the artifact, unless the network itself is to be run (--config-file).
    """
    from d2deploy.workflows.predict import check_targets, given_images
    from d2deploy.workflows.predict import predict as run

    artifact, images = (None, paths) if options["config_file"] else (paths[0] if paths else None, paths[1:])
    if not images:
        raise click.UsageError("Give an artifact and then images; with --config-file, images alone.")
    if json_file and json_file == coco_json:
        raise click.UsageError("--json and --coco-json name the same place. Give each its own.")
    given = given_images(images)
    check_targets([file for file in (json_file, coco_json) if file and file != STDIO], given)
    source = _source(artifact, options)
    with _progress("predicting") as progress:
        found = run(
            source,
            given,
            output=options["output"],
            min_score=options["min_score"],
            device=options["device"],
            progress=progress,
        )
    if STDIO not in (json_file, coco_json):
        click.echo("\n".join(found.lines))
    _write_json(json_file, {"images": found.images})
    _write_json(coco_json, found.coco)


@cli.command()
@click.argument("artifact", type=_Path())
def inspect(artifact: Path) -> None:
    """Print what an artifact's manifest says."""
    from d2deploy.workflows.describe import describe

    click.echo(describe(read_artifact(artifact)))


@cli.command()
@click.argument("words", nargs=-1)
def zoo(words: tuple[str, ...]) -> None:
    """List detectron2's official models; WORDS: only those whose name has them all.

    A name can stand in place of --config-file; its weights are downloaded once.
    """
    from d2deploy.config.zoo import zoo_models
    from d2deploy.weights.catalog import resolve

    rows = [
        (m.name, m.family, " ".join(f"{k} {v}" for k, v in m.ap.items()), resolve(m.weights) if m.weights else "")
        for m in zoo_models()
        if all(word.lower() in m.name.lower() for word in words)
    ]
    click.echo(tabulate(rows, ("model", "family", "AP", "weights"), disable_numparse=True))


@cli.command()
def formats() -> None:
    """List the formats that export writes."""
    from d2deploy.backends import FORMATS

    rows = [
        (row.name, row.summary, ", ".join(row.methods), f"d2deploy[{row.extra}]", f"d2deploy[{row.runtime_extra}]")
        for row in FORMATS.values()
    ]
    click.echo(tabulate(rows, ("format", "what it is", "methods", "to write it", "to run it")))


@cli.command()
@click.option("--output", type=_Path(), default="d2deploy-demo", show_default=True, help="Where all of it goes.")
@click.option("--overwrite", is_flag=True, help="Replace that folder even if it is no former demo's.")
def demo(output: Path, overwrite: bool) -> None:
    """Export the bundled Mask R-CNN, verify it, and show both on one HTML page."""
    from d2deploy.demo.run import run_demo

    run_demo(output, overwrite=overwrite, say=click.echo)


def _load_model(options: dict[str, Any], overrides: Sequence[str] = ()) -> "Model":
    from d2deploy.config.datasets import names_from
    from d2deploy.optional import optional

    if not options["config_file"]:
        raise click.UsageError("Give --config-file, the detectron2 config of the network.")
    optional("torch", extra="torch")
    from d2deploy.models.build import load_model

    names = options["class_names"]
    with _download_bar() as progress:
        return load_model(
            options["config_file"],
            options["weights"],
            overrides=[*overrides, *(word for pair in options.get("opts", ()) for word in pair)],
            class_names=None if names is None else names_from(names),
            progress=progress,
        )


@contextmanager
def _download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr that appears when the first bytes come."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def told(done: int, total: int | None) -> None:
            if not bars:
                bar = click.progressbar(length=total or done, label="downloading", file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        yield told


def _source(artifact: Path | None, options: dict[str, Any]) -> "Artifact | Model":
    if artifact and options["config_file"]:
        raise click.UsageError("Give an artifact or --config-file, not both.")
    if not artifact and not options["config_file"]:
        raise click.UsageError("Give an artifact, the folder that export wrote, or the network by --config-file.")
    return read_artifact(artifact) if artifact else _load_model(options)


def _data_of(options: dict[str, Any], source: "Artifact | Model") -> dict[str, Any]:
    """evaluate's arguments that say which images of which annotations; by default those that the config names."""
    from d2deploy.config.datasets import installed_files

    coco_json, image_root = options["coco_json"], options["image_root"]
    if options["dataset"] and (coco_json or image_root):
        raise click.UsageError("Give --coco-json and --image-root, or --dataset, not both.")
    if not (coco_json and image_root):
        name = options["dataset"] or (not isinstance(source, Artifact) and source.config.dataset)
        if coco_json or image_root or not name:
            raise click.UsageError("Give --coco-json and --image-root, or --dataset.")
        coco_json, image_root = installed_files(name)
    return {"coco_json": coco_json, "image_root": image_root, "limit": options["limit"]}


def _refuse_options(overrides: Sequence[str]) -> None:
    """Values may begin with a dash (-1); what stands where a key should is a misspelt option."""
    context = click.get_current_context()
    known = [name for parameter in context.command.params for name in parameter.opts]
    for key in overrides[::2]:
        if key.startswith("-"):
            raise click.NoSuchOption(key, possibilities=get_close_matches(key, known), ctx=context)


def _write_json(path: Path | None, content: Any, *, indent: int | None = None) -> None:
    if path is None:
        return
    text = json.dumps(content, indent=indent, allow_nan=False)
    click.echo(text) if path == STDIO else write_text(path, text + "\n")


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that is told (done, all)."""
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def told(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield told
