"""Fig. 10a: how many timesteps a rate-coded network needs, and a direct-coded one."""

from __future__ import annotations

from typing import Any

import torch

from hiresnn.attacks import frozen
from hiresnn.metrics import correct
from hiresnn.paper.artefact import Artefact, Cell, Table, beside_paper, compared
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.layers import BATCH_ROWS
from hiresnn.paper.plan import attack_seconds
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.sweep import judged
from hiresnn.paper.words import network_words, setting_notes

NETWORKS = ("vgg5-cifar10", "vgg11-cifar100")
METHODS = {"rate": "rate", "direct": "traditional"}
GRID = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200)
WITHIN = 1.0
"""Percentage points below an accuracy that count as having reached it."""

Curve = dict[int, Stat]


def fig10a(study: Study) -> Artefact:
    """The T that each network was trained with, and accuracy in percent when it is stopped earlier."""
    networks = [network for network in NETWORKS if network in study.networks]
    curves = {
        network: {encoding: _stopped_early(study, network, method) for encoding, method in METHODS.items()}
        for network in networks
    }
    trained = {network: {key: float(max(curve)) for key, curve in found.items()} for network, found in curves.items()}
    limit = printed("fig10a", "latency_gain_max") or 0.0
    rows: list[list[Cell]] = []
    notes: list[str] = []
    for network, found in curves.items():
        rows += _rows(network, found, limit)
        gain = trained[network]["rate"] / trained[network]["direct"]
        claim = f"direct input needs fewer steps than rate coding, up to {limit:g} times fewer"
        told = f"the recipes train with {gain:.1f} times fewer; how many are needed stands in the table"
        notes.append(judged(claim, gain > 1, told, of=" on ".join(network_words(network))))
    caption = (
        "Timesteps T of inference. Trained with: a choice of the recipes, not a measurement. Needed: the fewest steps "
        f"from which on the network stays within {WITHIN:g} percentage point of its own accuracy after all of them, "
        "and of the direct-coded network's."
    )
    columns = ["model", "data set", "T", "rate-coded", *beside_paper("direct-coded", "rate over direct")]

    def figure(plotting: Any) -> Any:
        drawn, panels = plotting.figure(1, 1 + len(networks), width=plotting.FULL_WIDTH, height=2.5)
        groups = [
            f"{network_words(network)[0]}\n{found['rate']:g} and {found['direct']:g}"
            for network, found in trained.items()
        ]
        series = [(plotting.STYLES[key], [Stat.of([trained[network][key]]) for network in networks]) for key in METHODS]
        paper = [[_paper_steps(network) if key == "direct" else None for network in networks] for key in METHODS]
        plotting.bars(panels[0], groups, series, paper=paper)
        plotting.label(panels[0], x="network", y="timesteps T trained with", title="(a) latency")
        for axes, letter, network in zip(panels[1:], "bc", networks, strict=False):
            for encoding, curve in curves[network].items():
                plotting.line(axes, list(curve), list(curve.values()), plotting.STYLES[encoding])
            last = trained[network]["rate"]
            plotting.logarithmic(axes, "x", [steps for steps in (1, 2, 5, 10, 20, 50, 100, 200) if steps <= last])
            axes.set_ylim(-2, 102)
            title = f"({letter}) {' on '.join(network_words(network))}"
            plotting.label(axes, x="timesteps shown", y="clean accuracy (%)", title=title)
        plotting.outside(drawn, columns=3)
        return drawn

    notes = [*setting_notes(study, tuple(networks), "rate"), *notes]
    return Artefact("fig10a", "Latency of rate-coded and direct input", [Table(caption, columns, rows)], figure, notes)


def _rows(network: str, curves: dict[str, Curve], limit: float) -> list[list[Cell]]:
    """What was chosen; what each network needs for its own accuracy; what both need for the direct-coded one's."""
    words = network_words(network)
    chosen = [float(max(curves[key])) for key in METHODS]
    printed_gain = limit if network == "vgg11-cifar100" else None
    own = [_needed(curves[key], curves[key]) for key in METHODS]
    same = [_needed(curves[key], curves["direct"]) for key in METHODS]
    steps, gains = compared(_paper_steps(network), chosen[1]), compared(printed_gain, chosen[0] / chosen[1])
    rows: list[list[Cell]] = [[*words, "trained with", chosen[0], *steps, *gains]]
    for what, (rate, direct) in (("needed, own accuracy", own), ("needed, accuracy of direct-coded", same)):
        gain = None if rate is None or direct is None else rate.mean / direct.mean
        reached: Cell = "not reached" if rate is None else rate
        rows.append([*words, what, reached, *compared(None, direct), *compared(None, gain)])
    return rows


def _paper_steps(network: str) -> float:
    return float(claims().setting.timesteps[network.partition("-")[0]])


def _needed(curve: Curve, target: Curve) -> Stat | None:
    """The fewest steps from which on each seed stays within WITHIN of the target's last accuracy; None: never."""
    steps, last = list(curve), list(target.values())[-1].values
    fewest = []
    for values, wanted in zip(zip(*(stat.values for stat in curve.values()), strict=True), last, strict=False):
        short = [count for count, value in zip(steps, values, strict=True) if value < wanted - WITHIN]
        if short and short[-1] == steps[-1]:
            return None
        fewest.append(next(count for count in steps if not short or count > short[-1]))
    return Stat.of(fewest)


def _stopped_early(study: Study, network: str, method: str) -> Curve:
    """Timesteps shown -> clean accuracy in percent over seeds, up to the T that the network was trained with."""
    last = study.recipe(network, method, 0).snn.timesteps
    grid = [steps for steps in GRID if steps < last] + [last]
    measured = [_accuracies(study, network, method, seed, grid) for seed in study.seeds_of(network, method)]
    return {steps: Stat.of(values) for steps, values in zip(grid, zip(*measured, strict=True), strict=True)}


def _accuracies(study: Study, network: str, method: str, seed: int, grid: list[int]) -> list[float]:
    run = study.run(network, method, seed)
    images = study.scale.analysed
    key = {"what": "stopped-early", "run": run.name, "images": images, "timesteps": grid}

    def work() -> list[float]:
        trained = study.network_of(run)
        shown, labels = study.images.shown(network, images)
        percent = []
        with frozen(trained), torch.no_grad():
            for steps in grid:
                batch = max(1, BATCH_ROWS // steps)
                parts = zip(torch.split(shown, batch), torch.split(labels, batch), strict=True)
                right = sum(int(correct(trained(part, steps), truth).sum()) for part, truth in parts)
                percent.append(100 * right / len(labels))
        return percent

    recipe = study.recipe(network, method, seed)
    seconds = attack_seconds(recipe, study.setting(network), images, 0) * sum(grid) / grid[-1]
    values: list[float] = study.measured(key, work, seconds=seconds, like=[float("nan")] * len(grid))
    return values
