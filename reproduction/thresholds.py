"""A study that the paper does not have: how the threshold scale of the conversion moves every method.

It is measured on images held out of training, because the scale is a hyperparameter that every other page shares.
"""

from __future__ import annotations

from reproduction.accuracy_page import Values
from reproduction.activity_figures import layers_of, total
from reproduction.labels import METHOD_LABELS, VGG5, setting_notes, text
from reproduction.measurements import Changes, Measurement, Run
from reproduction.page import Cell, Page, Table
from reproduction.scales import Scale
from reproduction.seedstat import with_limits

THRESHOLDS = ("0.4", "0.7", "1.0")
"""Values of conversion.threshold_scale."""
HELD_OUT = "100"
"""Images held out where the scale's recipe holds out none."""


def needs(scale: Scale) -> list[Measurement]:
    """Accuracies on held-out images, and the activity of every layer, for each method and threshold scale."""
    pairs = [(method, threshold) for method in _methods(scale) for threshold in THRESHOLDS]
    return [
        each
        for method, threshold in pairs
        for each in (*_accuracies(scale, method, threshold), _activity(scale, method, threshold))
    ]


def page(values: Values) -> Page:
    """A row per method and threshold scale, and the gain of HIRE-SNN at each scale."""
    scale = values.scale
    rows: list[list[Cell]] = []
    for method in _methods(scale):
        for threshold in THRESHOLDS:
            cells: list[Cell] = [values.read(each) for each in _accuracies(scale, method, threshold)]
            layers = layers_of(seeds) if (seeds := values.find(_activity(scale, method, threshold))) else []
            cells += [layers[0].sa, total(layers).tasa] if layers else [None, None]
            rows.append([METHOD_LABELS[method], threshold, *cells])
    held = int(scale.recipe(Run(VGG5, "hire", 0, None, _changes(scale, THRESHOLDS[0]))).data.holdout_images)
    images = min(scale.images or held, held)
    gains: list[list[Cell]] = []
    for threshold in THRESHOLDS:
        sides = [_accuracies(scale, method, threshold) for method in ("hire", "traditional")]
        pairs = [(values.read(ours), values.read(theirs)) for ours, theirs in zip(*sides, strict=True)]
        gains.append([threshold, *(with_limits(ours.minus(theirs, images)) for ours, theirs in pairs)])
    specs = [each.spec(scale) for each in _accuracies(scale, "hire", THRESHOLDS[0])]
    names = ["clean" if spec is None else f"{spec.name.upper()} {255 * spec.eps:.3g}/255" for spec in specs]
    tables = [
        Table(text("thresholds.caption"), ["method", "threshold scale", *names, "SA of conv1", "TASA"], rows),
        Table(text("thresholds.gains"), ["threshold scale", *names], gains),
    ]
    notes = [*setting_notes(scale, (VGG5,), "rate"), text("thresholds.held_out")]
    return Page(tables, notes=notes, networks=(VGG5,), images=f"{images:,} held-out training images")


def _methods(scale: Scale) -> tuple[str, ...]:
    if not scale.present([VGG5]):
        return ()
    return ("traditional", "hire", "rate") if scale.is_rated(VGG5) else ("traditional", "hire")


def _changes(scale: Scale, threshold: str) -> Changes:
    holds = scale.recipe(Run(VGG5, "hire", 0)).data.holdout_images
    held = () if holds else (("data.holdout_images", HELD_OUT),)
    return (("conversion.threshold_scale", threshold), *held)


def _accuracies(scale: Scale, method: str, threshold: str) -> list[Measurement]:
    """Clean, under FGSM and PGD at the recipe's bound, and under PGD at a quarter of it."""
    quarter = scale.recipe(Run(VGG5, method, 0)).attack.eps / 4
    attacks = (None, "fgsm", "pgd", f"pgd:eps={quarter:.6g}")
    return [Measurement("held-out", VGG5, method, attack=one, changes=_changes(scale, threshold)) for one in attacks]


def _activity(scale: Scale, method: str, threshold: str) -> Measurement:
    return Measurement("activity", VGG5, method, changes=_changes(scale, threshold))
