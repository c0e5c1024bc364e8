"""Networks go out and come in: `hiresnn export`, `import-checkpoint`, `zoo` and `publish`."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from hiresnn.cli.common import Run, Source, complete_network, display, numbers_table
from hiresnn.errors import UsageError, command_line

Format = Literal["nir", "onnx", "snntorch", "spikingjelly", "sinabs"]
Dialect = Literal["portable", "snntorch", "spikingjelly", "norse"]


def _complete_name(incomplete: str) -> list[str]:
    return [name for name in complete_network(incomplete) if not name.startswith("runs/")]


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name that hiresnn zoo lists.", autocompletion=_complete_name)
]
UNNAMED = "-"  # the folder of --dry-run without a folder


class Publish(TyperCommand):
    """`hiresnn publish`, whose --dry-run may have no folder if no other argument follows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments of the command line."""
        return super().parse_args(ctx, self.completed(args))

    @staticmethod
    def completed(args: list[str]) -> list[str]:
        """Return the arguments with a folder after --dry-run."""
        at = args.index("--dry-run") + 1 if "--dry-run" in args else 0
        return [*args[:at], UNNAMED, *args[at:]] if at and (at == len(args) or args[at].startswith("--")) else args


def export(
    target: Annotated[str, typer.Argument(metavar="RUN", autocompletion=complete_network)],
    to: Annotated[Format, typer.Option()],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE")],
    reader: Annotated[Dialect, typer.Option()] = "portable",
    data: Source = None,
    images: Annotated[int, typer.Option("--images", "--limit", min=2, metavar="N")] = 200,
) -> None:
    """Write a trained run in the format of another program, and measure what that program changes.

    Other programs do not always compute neurons as hiresnn does. So the written network runs on test images, in
    onnxruntime, in the libraries that are installed, or in an interpreter that computes as they do. The command prints
    accuracies, differing decisions, and the first layer whose spikes differ.

    - hiresnn export runs/mine --to onnx -o mine.onnx
    - hiresnn export runs/mine --to spikingjelly -o mine.py

    Options:
        target: A run folder, a name of hiresnn zoo, a .safetensors file that hiresnn wrote, or FILE.py:FUNCTION, which
            executes that file.
        to: nir: the exchange format of neuromorphic libraries and chips. onnx: for onnxruntime, with all timesteps
            unrolled. snntorch, spikingjelly, sinabs: a Python file for that library, with its weights beside it.
        out: The file to write.
        reader: The library that will read the NIR file. portable is for snnTorch, SpikingJelly and norse (dt=1e-4).
        images: Number of test images, balanced over classes, on which the file is compared with the run.
    """
    from hiresnn.app.evaluate import check_fits
    from hiresnn.app.targets import data_of, resolve_model
    from hiresnn.checks import as_floats
    from hiresnn.data import in_turn
    from hiresnn.exchange.export import export as export_network
    from hiresnn.exchange.export import require_target
    from hiresnn.network import SpikingNetwork

    require_target(out, to=to, reader=reader)
    subject = resolve_model(target, source=data)
    network = subject.model
    if not isinstance(network, SpikingNetwork):
        raise UsageError(
            f"{target} is a {type(network).__name__}, not a spiking network of hiresnn; convert it first, or export "
            "a run whose method is not ann."
        )
    dataset = data_of(target, subject, data)
    check_fits(network, dataset, target)
    split = in_turn(dataset.test, min(images, len(dataset.test)))
    written = export_network(
        network, out, as_floats(split.images), split.labels, to=to, reader=reader, source=subject.name
    )
    for change in written.unsupported:
        print(f"Changed: {change}.")
    if written.comparisons:
        title = f"The run and what was written, on {written.comparisons[0].images:,} images"
        rows = numbers_table(title, "computed by", "accuracy", "decisions that differ", "first layer that differs")
        rows.add_row("hiresnn", f"{written.comparisons[0].before.compute():.1f}", "", "")
        for comparison in written.comparisons:
            layer = comparison.first_layer or ("none" if comparison.spikes else "one output only")
            rows.add_row(comparison.name, f"{comparison.after.compute():.1f}", str(comparison.decisions), layer)
        display(rows)
    elif to in ("snntorch", "spikingjelly", "sinabs"):
        print(f"Not compared here; to compare it with the run, run: {shlex.join(['python', str(out)])}")
    print(f"Written: {' and '.join(map(str, written.files))}")
    if to == "nir":
        from hiresnn.exchange.nir import reading_lines

        lines = reading_lines(out, split.images.shape[1:], network.timesteps, reader)
        print(f"Read it with that library and nirtorch (pip install nirtorch):\n\n{lines}")
    if to == "onnx":
        print(
            "Read it with (images are a NumPy array of float32 in [0, 1], [B, C, H, W]):\n\nimport onnxruntime\n"
            f'logits = onnxruntime.InferenceSession({str(out)!r}).run(None, {{"images": images}})[0]'
        )


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE")],
    model: Annotated[Literal["vgg5", "vgg11", "vgg16"], typer.Option()],
    data: Annotated[str, typer.Option(metavar="SOURCE")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR")],
    method: Annotated[Literal["hire", "traditional"], typer.Option()] = "hire",
    timesteps: Annotated[int | None, typer.Option(min=1, metavar="T")] = None,
    twin: Annotated[Path | None, typer.Option(metavar="RUN")] = None,
) -> None:
    """Make a run folder from a checkpoint of the paper's authors, for evaluate, analyze and audit.

    No code in the file is run, and every shape is checked. Images are normalised as in the authors' scripts.

    Options:
        checkpoint: A state_dict of the authors' class VGG_SNN (VGG5, VGG11 or VGG16) with thresholds and leaks.
        model: The architecture.
        data: The images: cifar10, cifar100, or a file.
        out: The run folder.
        method: How the network was trained.
        timesteps: Timesteps; default: the paper's.
        twin: Compare the weights with those of this run, to see whether both have the same ANN.
    """
    from hiresnn.app.import_checkpoint import import_checkpoint as run

    imported = run(checkpoint, model, out, source=data, method=method, timesteps=timesteps, twin=twin)
    layers = numbers_table(f"{model} in {checkpoint.name}", "layer", "shape", "threshold", "leak", "cosine")
    neurons = [*zip(imported.thresholds, imported.leaks, strict=True), None]  # the last layer has no neurons
    for (name, (_, shape)), neuron in zip(imported.layers.items(), neurons, strict=True):
        numbers = ["", ""] if neuron is None else [f"{value:.4g}" for value in neuron]
        cosine = f"{imported.cosines[name]:.3f}" if name in imported.cosines else ""
        layers.add_row(name, "x".join(map(str, shape)), *numbers, cosine)
    display(layers)
    if imported.ignored:
        print(f"Ignored entries: {', '.join(imported.ignored)}")
    if imported.same_ann is not None:
        print(f"Both networks started from {'the same ANN' if imported.same_ann else 'independent ANNs'}.")
    print(f"Run folder: {out}\nNext: {command_line('evaluate', out)}")


zoo = typer.Typer(
    help="List, show and copy pretrained networks. Without a command, list them.\n\n"
    "Each network comes with its recipe, its results and an audit of its robustness (docs/share.md). From Python, "
    'hiresnn.from_pretrained("NAME") loads it; hiresnn zoo copy makes a run folder. Networks that are not part of the '
    "package are downloaded when they are used first.\n\n"
    "Example: hiresnn zoo copy digits-hire mine, then hiresnn audit mine --verify mine/audit/card.json"
)


@zoo.callback(invoke_without_command=True)
@zoo.command("list", hidden=True)
def list_networks(context: typer.Context) -> None:
    """List the networks with their accuracies in percent, as audited."""
    if context.invoked_subcommand is not None:
        return
    from hiresnn.app.zoo import folders, names, remedy
    from hiresnn.hub.pretrained import shipped

    headings = ("name", "clean", "PGD", "worst case", "95 %", "bound", "data", "method", "T", "verdict on PGD")
    rows = numbers_table(
        "Pretrained networks; accuracy in percent, the worst case of an audit with its 95 % interval", *headings
    )
    for run in shipped():
        card = run.card
        assert card is not None
        point, steps = card.at(card.setting.headline), card.subject.timesteps
        shares = (f"{share.percent:.1f}" for share in (card.clean, point.pgd, point.worst))
        interval = f"{point.worst.low:.1f} - {point.worst.high:.1f}"
        training = (card.data.name, run.recipe.method, "" if steps is None else str(steps), card.conclusion.verdict)
        rows.add_row(run.name, *shares, interval, point.bound, *training)
    display(rows)
    if absent := [name for name in names() if name not in folders()]:
        print(f"Not in the package: {', '.join(absent)}. {remedy()}")
    print('Next: hiresnn zoo show NAME, or in Python: hiresnn.from_pretrained("NAME")')


@zoo.command()
def show(name: Name) -> None:
    """Print the model card of a network, for example: hiresnn zoo show digits-hire"""
    from hiresnn.app.zoo import folder_of
    from hiresnn.hub.pretrained import README

    text = (folder_of(name) / README).read_text(encoding="utf-8")
    print(text.partition("\n---\n")[2].strip())


@zoo.command()
def copy(name: Name, folder: Annotated[Path, typer.Argument(metavar="FOLDER")]) -> None:
    """Copy a network to a run folder, which evaluate, audit, analyze and report take (not analyze conversion).

    Options:
        folder: The new run folder; it must not exist yet.
    """
    from hiresnn.hub.pretrained import copy as copy_network

    copy_network(name, folder)
    print(f"Wrote {folder}.\nNext: {command_line('evaluate', folder)}")
    print(f"      {command_line('audit', folder, '--verify', folder / 'audit/card.json')}")


def publish(
    run: Run,
    repository: Annotated[str, typer.Argument(metavar="USER/NAME")],
    dry_run: Annotated[Path | None, typer.Option("--dry-run", metavar="DIR")] = None,
    license: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    private: Annotated[bool, typer.Option("--private")] = False,
) -> None:
    """Publish a trained and audited run on the Hugging Face hub.

    The repository gets the weights, the recipe, the results, the audit, which must verify, and a model card. Uploading
    needs the package huggingface-hub and a login (hf auth login, or HF_TOKEN). Example: hiresnn publish runs/a me/a

    Options:
        repository: The repository on the hub.
        dry_run: Upload nothing, but write the files into this new folder; without a folder at the end of the line, only
            check the run and list the files.
        license: Licence of the weights, as the hub writes it, such as mit; default: none named.
        private: Create the repository as a private one.
    """
    import tempfile

    from hiresnn.hub.pretrained import Publication, require_hub_id, upload, write_publication

    require_hub_id(repository)
    publication = Publication(repository, license)
    if dry_run is not None and str(dry_run) != UNNAMED:
        files = write_publication(run, dry_run, publication)
        size = sum(file.stat().st_size for file in files)
        print(f"Wrote {len(files)} files ({size / 1024:,.0f} KiB) to {dry_run}; nothing was uploaded.")
        print(f"Next: read {dry_run / 'README.md'}; in Python: hiresnn.from_pretrained({str(dry_run.resolve())!r})")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = write_publication(run, Path(folder), publication)
        if dry_run is not None:
            for file in files:
                print(f"{file.stat().st_size / 1024:>9,.1f} KiB  {file.relative_to(folder)}")
            print(f"{run} can be published as {repository}: {len(files)} files; nothing was uploaded.")
            return
        address = upload(Path(folder), repository, private=private)
    print(f"Published {len(files)} files: {address}")
    print(f'Next: in Python: hiresnn.from_pretrained("{repository}")')
