"""Draw the spikes of a trained network on one image, clean and attacked, and how many an attack changes on average.

python benchmarks/spikes_picture.py digits-hire --data digits --attack 'pgd(eps=32/255)' -o docs/images/spikes.svg

The image is the first test image that the network classifies correctly and the attack breaks.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from markupsafe import Markup
from torch import Tensor

import hiresnn
from hiresnn.analysis import recording
from hiresnn.attacks import AttackSpec, verified
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.files import write_atomically
from hiresnn.network import SpikingNetwork
from hiresnn.report.charts import DARK, LIGHT, variables

WIDTH, LEFT, CELL, STEP = 800, 176, 4.5, 9
RASTERS = 2
"""Layers whose every neuron is drawn: the last ones."""
NEURONS = 130
"""The most neurons that a raster can show."""

STYLE = f"""
svg {{ {variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ svg {{ {variables(DARK)} }} }}
text {{ font: 15px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--ink); }}
.title {{ font-size: 20px; font-weight: 650; }}
.name {{ font-weight: 650; }}
.muted {{ fill: var(--muted); }}
.small {{ font-size: 13px; font-weight: 400; }}
.ground {{ fill: var(--surface); stroke: var(--rule); }}
.sunken {{ fill: var(--sunken); }}
.both {{ fill: var(--series-3); }}
.gone {{ fill: none; stroke: var(--series-1); }}
.new {{ fill: var(--series-0); }}
.goneText {{ fill: var(--series-1); font-weight: 650; }}
.newText {{ fill: var(--series-0); font-weight: 650; }}
"""


@dataclass(frozen=True)
class Layer:
    """The spikes of one layer on the image that is drawn, [T, neurons], and over all images.

    Attributes:
        spikes, gone, new: means per image: spikes on clean images, how many of them the attack removes, and how many it
            adds.
    """

    name: str
    clean: Tensor
    attacked: Tensor
    spikes: float
    gone: float
    new: float


@dataclass(frozen=True)
class Scene:
    """What is drawn: the two images [H, W] in [0, 1], what the network takes them for, and its layers."""

    network: str
    attack: str
    images: int
    broken: int
    pair: tuple[Tensor, Tensor]
    answers: tuple[str, str]
    layers: list[Layer]


def observed(name: str, source: str, attack: AttackSpec, limit: int) -> Scene:
    """Attack the first test images and record every spike."""
    network = hiresnn.from_pretrained(name)
    if not isinstance(network, SpikingNetwork):
        raise UsageError(f"{name} does not spike; name a spiking network.")
    dataset = hiresnn.data.load(source)
    test = hiresnn.data.first(dataset.test, min(limit, len(dataset.test)))
    images, labels = test.images / 255, test.labels
    attacked = verified(attack, network, images, labels, eps=attack.eps)
    found = []
    with torch.no_grad(), recording(network.eval()) as spikes:
        for batch in (images, attacked):
            answers = network(batch).argmax(1)
            found.append((answers, {layer: each.flatten(2) for layer, each in spikes.items()}))
    (clean, before), (after_answers, after) = found
    right = clean == labels
    broken = (right & (after_answers != labels)).nonzero()[:, 0]
    if not len(broken):
        raise UsageError(f"{attack.label} breaks none of {len(test)} images; name a stronger attack.")
    index = int(broken[0])
    layers = [
        Layer(
            layer, before[layer][:, index], after[layer][:, index], float(before[layer].sum()) / len(test),
            float((before[layer] > after[layer]).sum()) / len(test),
            float((before[layer] < after[layer]).sum()) / len(test),
        )
        for layer in before
    ]  # fmt: skip
    names = dataset.class_names
    return Scene(
        name, attack.label, len(test), len(broken), (images[index, 0], attacked[index, 0]),
        (names[int(clean[index])], names[int(after_answers[index])]), layers,
    )  # fmt: skip


def picture(scene: Scene) -> str:
    """The picture as SVG, 800 units wide."""
    parts, y = [], 96
    for number, (title, image) in enumerate(zip(("clean", "attacked"), scene.pair, strict=True)):
        answer = Markup('<tspan class="name">{}</tspan>').format(scene.answers[number])
        parts.append(_image(image, 24, y + 160 * number))
        parts.append(_text(24, y + 160 * number + 124, Markup("{}, read as {}").format(title, answer), "small"))
    for layer in scene.layers[-RASTERS:]:
        raster, height = _raster(layer, y)
        parts.append(raster)
        y += height + 44
    parts.append(_text(LEFT, y, f"Mean of {scene.images:,} test images, spikes per image", "small muted"))
    for layer in scene.layers:
        y += 22
        parts.append(_row(layer, y))
    height = max(y + 26, 96 + 160 + 150)
    legend = Markup(
        'A square is a spike: grey on both images, <tspan class="goneText">outlined only clean</tspan>, '
        '<tspan class="newText">filled only attacked</tspan>.'
    )
    about = f"{scene.network} under {scene.attack}, which breaks {scene.broken} of {scene.images} test images"
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-labelledby="t d"><title id="t">{title}</title><desc id="d">{description}</desc><style>{style}</style>'
        '<rect class="ground" x=".5" y=".5" width="{rw}" height="{rh}" rx="10"/>{head}{parts}</svg>\n'
    ).format(
        w=WIDTH, h=height, rw=WIDTH - 1, rh=height - 1, title="Spikes on a clean and on an attacked image",
        description=_description(scene), style=Markup(STYLE), parts=Markup("").join(parts),
        head=_text(24, 36, "Spikes on a clean and on an attacked image", "title")
        + _text(24, 58, f"{about}; the first of them:", "small muted")
        + _text(LEFT, 84, legend, "small"),
    )  # fmt: skip


def _description(scene: Scene) -> str:
    layers = "; ".join(
        f"{layer.name}: {layer.spikes:.0f} spikes, {layer.gone:.0f} removed, {layer.new:.0f} added"
        for layer in scene.layers
    )
    return (
        f"{scene.network} reads the clean image as {scene.answers[0]} and the attacked one as {scene.answers[1]}. "
        f"Means of {scene.images} images: {layers}."
    )


def _text(x: float, y: float, text: str, kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, x, y, text)


def _image(pixels: Tensor, x: int, y: int) -> Markup:
    """An image of 108 units, one rectangle per pixel."""
    rows, columns = pixels.shape
    width, height = 108 / columns, 108 / rows
    cells = [
        Markup('<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill="rgb({g},{g},{g})"/>').format(
            x + column * width, y + row * height, width + 0.3, height + 0.3, g=round(255 * float(pixels[row, column]))
        )
        for row in range(rows)
        for column in range(columns)
    ]
    return Markup("").join(cells)


def _raster(layer: Layer, y: float) -> tuple[Markup, float]:
    """Every neuron of a layer, from the one with most clean spikes to the one with fewest, over time downward."""
    timesteps, neurons = layer.clean.shape
    if neurons > NEURONS:
        raise UsageError(f"layer {layer.name} has {neurons} neurons; a raster shows {NEURONS} at most.")
    order = layer.clean.sum(0).argsort(descending=True, stable=True)
    clean, attacked = layer.clean[:, order] > 0, layer.attacked[:, order] > 0
    height = timesteps * STEP
    top = y + 20
    title = (
        f"{layer.name}: {timesteps} timesteps (down) of all {neurons} neurons, sorted by their clean spikes (across)"
    )
    parts = [
        _text(LEFT, y + 14, title, "small muted"),
        Markup('<rect class="sunken" x="{}" y="{}" width="{}" height="{}"/>').format(LEFT, top, neurons * CELL, height),
    ]
    for kind, cells, inset in (
        ("both", clean & attacked, 0.5), ("gone", clean & ~attacked, 1), ("new", attacked & ~clean, 0.5),
    ):  # fmt: skip
        parts.append(
            Markup('<path class="{}" d="{}"/>').format(
                kind, "".join(_square(column, row, top, inset) for row, column in cells.nonzero().tolist())
            )
        )
    return Markup("").join(parts), height


def _square(column: int, row: int, top: float, inset: float) -> str:
    x, y = LEFT + column * CELL + inset, top + row * STEP + inset + 1
    width, height = CELL - 2 * inset, STEP - 2 - 2 * inset
    return f"M{x:g},{y:g}h{width:g}v{height:g}h-{width:g}z"


def _row(layer: Layer, y: float) -> Markup:
    """A line of numbers: how many spikes, and which share of them the attack changes."""
    changed = 100 * (layer.gone + layer.new) / max(layer.spikes, 1e-9)
    numbers = Markup(
        '{:,.0f} spikes, <tspan class="goneText">{:,.0f} removed</tspan>, <tspan class="newText">{:,.0f} added</tspan>'
    ).format(layer.spikes, layer.gone, layer.new)
    return (
        _text(LEFT, y, layer.name, "name small")
        + _text(LEFT + 70, y, numbers, "small")
        + _text(LEFT + 350, y, f"{changed:.0f} changes per 100 clean spikes", "small muted")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a name that hiresnn zoo lists, or a folder with a trained spiking network")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--attack", default="pgd:eps=32/255")
    parser.add_argument("--limit", type=int, default=355, help="test images")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        scene = observed(options.network, options.data, AttackSpec.parse(options.attack), options.limit)
        write_atomically(options.out, picture(scene).encode())
    except HiresnnError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
