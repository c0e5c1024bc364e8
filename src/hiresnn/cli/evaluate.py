"""Measure a network: `hiresnn evaluate` and `analyze`; `hiresnn attacks` and `rules` list what they can use."""

import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.table import Column, Table

from hiresnn.calls import Kind, offered, read_call
from hiresnn.cli.common import (
    Attacks,
    Batch,
    Limit,
    Quiet,
    Run,
    RunOrZoo,
    Source,
    broken,
    complete_network,
    display,
    numbers_table,
)
from hiresnn.errors import UsageError, quoted
from hiresnn.progress import Progress

Number = TypeVar("Number", int, float)
Tables = Callable[[Mapping[str, Any]], list[Table]]
Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        autocompletion=complete_network,
        help="A run folder, a name of hiresnn zoo, a .safetensors file that hiresnn wrote, or FILE.py:FUNCTION, which "
        "returns a network of hiresnn or an adapter of another (docs/foreign.md). This executes the file.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder for the JSON file, if TARGET is not a run folder; default: a folder in audits/."
    ),
]
analyze = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Measure an SNN: its spikes (**activity**), the effect of attacks (**distance**), its **energy**, and "
    "what it lost when it was converted (**conversion**).",
)


def evaluate(
    run: RunOrZoo,
    attacks: Attacks = None,
    twins: Annotated[list[Path] | None, typer.Option("--twin", metavar="RUN2", autocompletion=complete_network)] = None,
    data: Source = None,
    limit: Limit = None,
    split: Annotated[Literal["test", "holdout"], typer.Option()] = "test",
    batch: Batch = 256,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE")] = None,
    corruptions: Annotated[bool, typer.Option("--corruptions")] = False,
    quiet: Quiet = False,
) -> None:
    """Attack a trained run and print its accuracy in percent.

    A white-box attack makes its images on the run itself, a black-box attack on the run of --twin. Without --attack,
    the attacks are the recipe's FGSM and PGD. The accuracies are added to result.json in the run folder, but replace
    none that was measured on more images: give --out for a try with fewer (--limit).

    - hiresnn evaluate runs/mine --attack apgd --attack 'pgd(eps=2/255)' --twin runs/mine-seed1
    - hiresnn evaluate runs/mine --attack 'sa-pgd(rule=assg)' --limit 100 --out quick.json
    - hiresnn evaluate runs/mine --corruptions

    Options:
        twins: A run of the same architecture and method with another seed, for the black-box attacks. May be repeated.
        split: test: the test images. holdout: training images kept out of training, for choosing hyperparameters.
        seed: Seed of the attacks' random numbers; default: the recipe's. Of --corruptions, by default 0.
        out: Write the accuracies to this JSON file and leave the run folder unchanged.
        corruptions: In place of attacks, measure the accuracy on images with twelve corruptions (event grids: six) at
            five severities, into corruptions.json.
    """
    from hiresnn.app import evaluate as evaluation

    options: dict[str, Any] = {"limit": limit, "split": split, "batch_size": batch, "seed": seed, "source": data}
    options |= {"out": out, "progress": Progress(quiet=quiet)}
    if not corruptions:
        result = evaluation.evaluate(run, attacks=attacks, twins=twins, **options)
    elif attacks or twins:
        raise UsageError("corruptions are measured without attacks; leave out --attack and --twin.")
    else:
        result = evaluation.evaluate_corruptions(run, **options)
    if layer := result.get("dead_layer"):
        print(
            f"Warning: layer {layer!r} never spikes, so the network is dead: its logits do not depend on the image. "
            "Its accuracies mean nothing; train it again with a lower learning rate or threshold_scale.",
            file=sys.stderr,
        )
    display(corruption_table(result) if corruptions else table(result))


def corruption_table(result: Mapping[str, Any]) -> Table:
    """Return a table with a row for each corruption, and the mean over all."""
    title = f"Accuracy in percent on {result['images']:,} corrupted images, seed {result['seed']}"
    printed = numbers_table(title, "corruption", "mean", *map(str, range(1, 6)))
    printed.add_row("none (clean)", f"{result['clean']:.1f}", end_section=True)
    for name, severities in result["corruptions"].items():
        printed.add_row(name, *(f"{value:.1f}" for value in (mean(severities), *severities)))
    printed.add_section()
    printed.add_row("mean", f"{result['mean']:.1f}", style="bold")
    return printed


def table(result: Mapping[str, Any]) -> Table:
    """Return an evaluation as a table: one row per attack, one column per box; accuracies in percent."""
    rows: Mapping[str, Mapping[str, Any]] = result["attacks"]
    twins = list(dict.fromkeys(twin for row in rows.values() for twin in row.get("twins", {})))
    title = f"Accuracy in percent on {result['images']:,} images, seed {result['seed']}"
    seeds = sorted({row["attack_seed"] for row in rows.values() if "attack_seed" in row})
    if set(seeds) - {result["seed"]}:
        title += f", seed of the attacks {' and '.join(map(str, seeds))}"
    black_box = not twins and any(row.get("black_box") is not None for row in rows.values())
    boxes = ["black box"] if black_box else [f"twin: {twin}" for twin in twins]
    printed = numbers_table(title, "attack", "white box", *boxes)
    printed.add_row("none (clean)", f"{result['clean']:.1f}", *([""] * len(boxes)))
    for label, row in rows.items():
        name = str(read_call(label, "attack"))  # results keep the syntax of version 0.2
        others = [row.get("black_box")] if black_box else [row.get("twins", {}).get(twin) for twin in twins]
        cells = ("-" if share is None else f"{share:.1f}" for share in (row.get("white_box"), *others))
        printed.add_row(name, *cells)
    return printed


def attacks() -> None:
    """List the attacks with their options and defaults.

    Give them to --attack of hiresnn evaluate, audit and analyze: --attack 'pgd(eps=2/255, iterations=20)'. The default
    step is 0.31875*eps. docs/attacks.md explains the options.
    """
    from hiresnn.attacks import ATTACKS

    _print("attacks", ("attack", "what it does"), ATTACKS)


def rules() -> None:
    """List the gradient rules: functions that an attack can use as the derivative of a spike, which has no useful one.

    A rule is an option of an attack and has options itself: --attack 'pgd(rule=arctan(alpha=4))'. In the formulas, z is
    the membrane potential relative to the threshold, and a spike occurs where z > 0.
    """
    from hiresnn.neurons.rules import RULES

    _print("rules", ("rule", "what it is"), RULES)


def _print(kind: Kind, headings: tuple[str, str], registry: Mapping[str, Any]) -> None:
    """Print a table of a registry and of what installed packages offer, which is not imported."""
    printed = Table(*(Column(heading, overflow="fold") for heading in (*headings, "options and defaults")))
    for name, info in registry.items():
        printed.add_row(name, info.summary, info.usage)
    for name, entry in offered(kind).items():
        printed.add_row(name, f"plug-in {entry.value}", "")
    display(printed)


def analysis(tables_of: Tables) -> Tables:
    """Make the command that prints these tables of the result of the function of this name in `hiresnn.app.analyze`."""

    def command(
        target: Target,
        attacks: Attacks = None,
        data: Source = None,
        limit: Limit = None,
        batch: Batch = 200,
        out: Out = None,
        quiet: Quiet = False,
    ) -> None:
        from hiresnn.app import analyze as analyses

        options = {"attacks": attacks, "limit": limit, "batch_size": batch, "source": data, "out": out}
        result = getattr(analyses, tables_of.__name__)(target, **options, progress=Progress(quiet=quiet))
        display(*tables_of(result))

    analyze.command(tables_of.__name__, help=tables_of.__doc__)(command)
    return tables_of


@analysis
def activity(result: Mapping[str, Any]) -> list[Table]:
    """Measure how many spikes every layer emits (Definition 1 of the paper).

    SA (spiking activity) is the number of spikes per image and neuron over all T timesteps, TASA (time-averaged spiking
    activity) is SA / T, from 0 to 1. The command prints a table and writes analysis-activity.json into the run folder.

    - hiresnn analyze activity runs/mine --attack pgd --limit 1000
    - hiresnn analyze activity examples/snntorch_digits.py:network --data digits
    """
    measured = result["activity"]
    headings = [f"{broken(label)}\n{kind}" for label in measured for kind in ("spikes", "SA", "TASA")]
    where = f"on {result['images']:,} images, T = {result['timesteps']}"
    shown = numbers_table(f"Spiking activity {where}", "layer", "neurons", *headings)
    first = measured["clean"]
    for name in [*first["layers"], "total"]:
        entries = [entry["total"] if name == "total" else entry["layers"][name] for entry in measured.values()]
        cells = [text for e in entries for text in (f"{e['spikes']:,.1f}", f"{e['sa']:.3f}", f"{e['tasa']:.3f}")]
        shown.add_row(name, f"{entries[0]['neurons']:,}", *cells, end_section=name == list(first["layers"])[-1])
    return [shown]


@analysis
def distance(result: Mapping[str, Any]) -> list[Table]:
    """Measure how far an attack moves the images and the spikes of every layer (Definition 2 of the paper).

    The table shows the mean L2 norms of the changes of the image (pixels in [0, 1]) and of the spike rates of each
    layer. Without --attack the attack is the recipe's PGD. The command also writes analysis-distance.json.

    - hiresnn analyze distance runs/mine --attack fgsm --attack pgd --limit 1000
    """
    measured = result["distance"]
    title = f"Perturbation distance (L2) on {result['images']:,} images, T = {result['timesteps']}"
    shown = numbers_table(title, "layer", *map(broken, measured))
    shown.add_row("image", *(f"{entry['images']['mean']:.3f}" for entry in measured.values()), end_section=True)
    for name in next(iter(measured.values()))["layers"]:
        shown.add_row(name, *(f"{entry['layers'][name]['mean']:.3f}" for entry in measured.values()))
    return [shown]


@analysis
def energy(result: Mapping[str, Any]) -> list[Table]:
    """Estimate the arithmetic energy of one image, with the prices of operations on 45 nm hardware.

    "Printed" is the count of operations in the paper: its Table 6 with Eq. 7 (rate-coded) or Eq. 8 (direct encoding).
    The other count has every operation that the network performs, also those of neurons, leaks and readout. The command
    also writes analysis-energy.json, with the memory energy of each layer.

    - hiresnn analyze energy runs/mine --limit 1000
    """
    return [table for label, entry in result["energy"].items() for table in _energy_pair(label, entry, result)]


def _energy_pair(label: str, entry: Mapping[str, Any], result: Mapping[str, Any]) -> list[Table]:
    where = f"one image, {label}, mean of {result['images']:,}, T = {result['timesteps']}"
    headings = ("layer", "input", "zeta", "printed\nFLOPs", "MACs", "ACs", "mults", "FP32\nnJ")
    layers = numbers_table(f"Operations for {where}", *headings)
    for layer in entry["layers"]:
        numbers = [_count(layer[key]) if layer[key] else "" for key in ("macs", "acs", "multiplications")]
        dense = (
            [layer["inputs"], f"{layer['activity']:.3f}", _count(layer["flops_snn"])] if layer["dense"] else [""] * 3
        )
        layers.add_row(layer["name"], *dense, *numbers, f"{layer['pj']['fp32'] / 1e3:,.2f}")
    totals = numbers_table(f"{entry['label'].capitalize()}, nJ for {where}", "", "FP32", "INT32")
    rows = {
        "SNN, printed (Eq. 7, 8)": "snn_printed",
        "ANN, printed (Table 6)": "ann_printed",
        "SNN, every operation": "snn",
        "ANN, every connection": "ann",
        f"ANN with {entry['quantised_bits']}-bit activations": "quantised_ann",
    }
    for title, key in rows.items():
        cells = (f"{entry['pj'][prices][key] / 1e3:,.2f}" for prices in ("fp32", "int32"))
        totals.add_row(title, *cells, end_section=key in ("ann_printed", "quantised_ann"))
    for name, words in entry["memory"].items():
        for place in ("on", "off"):
            cell = f"{words[f'{place}_chip_pj'] / 1e3:,.2f}"
            totals.add_row(f"memory, {name.upper()}, weights {place} chip", cell, cell)
    totals.caption = f"{entry['parameters']:,} parameters, {entry['state_bytes']:,} bytes of state"
    return [layers, totals]


@analyze.command()
def conversion(
    run: Run,
    timesteps: Annotated[str | None, typer.Option(metavar="LIST")] = None,
    scales: Annotated[str | None, typer.Option(metavar="LIST")] = None,
    attacks: Attacks = None,
    data: Source = None,
    limit: Limit = None,
    batch: Batch = 200,
    quiet: Quiet = False,
) -> None:
    """Measure what the conversion of the ANN loses, layer by layer.

    The ANN is converted for every T and every threshold scale. The error of a layer is the relative L2 distance between
    the ANN's activations and the spike rates times what a spike stands for. "Accuracy up to here" is that of a network
    that spikes up to this layer. The images are held out by the recipe, or else test images, and with --attack also
    adversarial ones of the ANN. The command writes analysis-conversion.json, .csv and, with matplotlib, .svg and .png.

    - hiresnn analyze conversion runs/robust-digits-converted-seed0 --timesteps 4,8,16 --scales 0.7,1

    Options:
        timesteps: Numbers of timesteps T, separated by commas; default: a half, one, two and four times the recipe's T.
        scales: Factors of the thresholds that the conversion sets, separated by commas; default: the recipe's.
    """
    from hiresnn.app.analyze import conversion as measure

    options: dict[str, Any] = {"attacks": attacks, "source": data, "limit": limit, "batch_size": batch}
    options |= {"timesteps": _numbers("--timesteps", timesteps, int), "scales": _numbers("--scales", scales, float)}
    result = measure(run, **options, progress=Progress(quiet=quiet))
    display(*conversion_tables(result))
    try:
        draw_conversion(result, run)
    except ImportError:
        print("No figure, which needs matplotlib: pip install matplotlib")


def _numbers(option: str, text: str | None, kind: Callable[[str], Number]) -> list[Number] | None:
    """Read numbers separated by commas."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} is {quoted(text)}; give numbers separated by commas, such as 4,8,16.") from None


def _count(number: float) -> str:
    """Return a count with four digits: 950, 98.03k, 1.234M."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.4g}{suffix}"
    return f"{number:.4g}"


def conversion_tables(result: Mapping[str, Any]) -> list[Table]:
    """Return a table of the layers at the recipe's own setting, and one of all settings, for each kind of images."""
    rows, printed = result["conversion"], []
    images = f"{result['images']:,} {result['split']} images"
    for label in dict.fromkeys(row["images"] for row in rows):
        settings = [row for row in rows if row["images"] == label]
        recipe = settings[0]
        title = f"Conversion at T = {recipe['timesteps']}, threshold scale {recipe['threshold_scale']:g}"
        headings = ("layer", "error", "bias", "clipped", "accuracy\nup to here")
        layers = numbers_table(f"{title}: {images}, {label}", *headings)
        layers.add_row("ANN", "", "", "", f"{recipe['ann']:.1f}", end_section=True)
        for name, layer in recipe["layers"].items():
            cells = [f"{100 * layer[key]:.1f} %" for key in ("error", "bias", "clipped")]
            layers.add_row(name, *cells, f"{layer['accuracy']:.1f}")
        names = list(recipe["layers"])
        table = numbers_table(f"Error of each layer in percent: {images}, {label}", "T", "scale", *names, "SNN", "ANN")
        for row in settings:
            errors = [f"{100 * row['layers'][name]['error']:.1f}" for name in names]
            accuracies = (f"{row['snn']:.1f}", f"{row['ann']:.1f}")
            table.add_row(f"{row['timesteps']}", f"{row['threshold_scale']:g}", *errors, *accuracies)
        printed += [layers, table]
    return printed


def draw_conversion(result: Mapping[str, Any], run: Path) -> None:
    """Draw the error of each layer and the accuracy up to it, one line per T, on the first kind of images."""
    from matplotlib.figure import Figure

    rows = [row for row in result["conversion"] if row["images"] == result["conversion"][0]["images"]]
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    errors, accuracy = figure.subplots(1, 2)
    layers = list(rows[0]["layers"])
    for row, marker in zip(rows, itertools.cycle("osD^vPX")):
        label = f"T = {row['timesteps']}, scale {row['threshold_scale']:g}"
        errors.plot(layers, [100 * row["layers"][layer]["error"] for layer in layers], marker=marker, label=label)
        accuracy.plot(layers, [row["layers"][layer]["accuracy"] for layer in layers], marker=marker)
    accuracy.axhline(rows[0]["ann"], color="black", linestyle="--", label="the ANN")
    errors.set(title="error of each layer", xlabel="layer", ylabel="error (%)")
    accuracy.set(title="this layer and all before spike", xlabel="layer", ylabel="accuracy (%)")
    for axes in (errors, accuracy):
        axes.tick_params(axis="x", rotation=30)
    figure.legend(loc="outside lower center", ncols=4)
    figure.suptitle(f"What the conversion loses: {run.resolve().name}, {result['images']:,} {result['split']} images")
    figure.savefig(run / "analysis-conversion.svg", metadata={"Date": None})
    figure.savefig(run / "analysis-conversion.png", dpi=300)
