"""What the energy artefacts share: operations counted on trained networks, and the bits of an equally good ANN."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import torch

from hiresnn import data
from hiresnn.analysis import Energy, EnergyReport, LayerOperations, Prices
from hiresnn.attacks import verified
from hiresnn.errors import RunError
from hiresnn.metrics import Accuracy
from hiresnn.network import SpikingNetwork
from hiresnn.paper.claims import printed
from hiresnn.paper.quantised import quantised
from hiresnn.paper.study import Study
from hiresnn.runs.context import splits
from hiresnn.runs.evaluate import attack_of

BITS = range(1, 9)
"""Bits of an activation that are tried."""
BATCH = 200
ROWS = 1600
"""Images times timesteps of a batch that is counted."""

_UNMEASURED = LayerOperations("unmeasured", "conv", "image", *((math.nan,) * 9), 0, 0)  # type: ignore[arg-type]


def has_rate(network: str) -> bool:
    """Whether the paper has a rate-coded network to compare this one with."""
    return printed("table1", network, "rate", "clean") is not None


def reports(
    study: Study, network: str, method: str, *, attack: str | None = None, variants: int = 1
) -> list[EnergyReport]:
    """Operations of one image, the mean over the scale's analysed test images, for each seed.

    Where a seed is not measured yet, as in a plan, all are one layer of NaN.

    Args:
        method: of a spiking network, such as "hire".
        attack: such as "pgd", made on the network itself; None shows the images as they are.
        variants: how often the image changes within T, as `hiresnn.analysis.Energy` takes it.
    """
    found = [_report(study, network, method, seed, attack, variants) for seed in study.seeds_of(network, method)]
    unmeasured = [report for report in found if report.layers[0].name == _UNMEASURED.name]
    return unmeasured[:1] * len(found) if unmeasured else found


def _report(study: Study, network: str, method: str, seed: int, attack: str | None, variants: int) -> EnergyReport:
    run, recipe = study.run(network, method, seed), study.recipe(network, method, seed)
    spec = None if attack is None else attack_of(recipe, attack, seed)
    count, steps = study.scale.analysed, recipe.snn.timesteps
    key = {
        "what": "energy",
        "run": run.name,
        "images": count,
        "attack": spec and {"name": spec.name, "options": spec.resolved()},
        "variants": variants,
    }

    def work() -> Any:
        model = study.network_of(run)
        if not isinstance(model, SpikingNetwork):
            raise RunError(f"run {run} holds an ANN where an SNN should be; delete the folder and train it again.")
        measure = Energy(model, variants=variants)
        images, labels = study.images.shown(network, count)
        at_once = max(1, ROWS // steps)
        title = f"  {run.name}: operations, {'clean' if spec is None else spec.label}"
        with study.progress.task(title, len(labels)) as task:
            for shown, truth in zip(torch.split(images, at_once), torch.split(labels, at_once), strict=True):
                measure.update(shown if spec is None else verified(spec, model, shown, truth, eps=spec.eps))
                task.advance(len(truth))
        found = measure.compute()
        return {"timesteps": found.timesteps, "layers": [asdict(layer) for layer in found.layers]}

    passes = 1.0 if spec is None else 1.0 + spec.resolved().get("iterations", 1)
    seconds = (count or 10_000) * steps * passes * study.setting(network).step_ms / 1000
    like = {"timesteps": steps, "layers": [asdict(_UNMEASURED)]}
    found = study.measured(key, work, seconds=seconds, like=like)
    return EnergyReport(tuple(LayerOperations(**layer) for layer in found["layers"]), found["timesteps"])


def equal_bits(study: Study, network: str, seed: int) -> int | None:
    """Fewest bits of an activation with which the ANN gets as many test images right as HIRE-SNN; None if no `BITS` do.

    The ANN is rounded after its training, see `quantised`; both are shown the scale's clean test images.
    """
    run, recipe = study.run(network, "ann", seed), study.recipe(network, "ann", seed)
    key = {"what": "quantised", "run": run.name, "images": study.scale.images, "calibration": recipe.conversion.images}

    def work() -> list[float]:
        model, (shown, truth) = study.network_of(run), study.images.shown(network, study.scale.images)
        training = splits(recipe, study.images.whole(network))[0]
        calibration = data.first(training, min(recipe.conversion.images, len(training))).images.to(shown.device) / 255
        found = []
        for bits in BITS:
            measure = Accuracy()
            with quantised(model, calibration, bits), torch.no_grad():
                for images, labels in zip(torch.split(shown, BATCH), torch.split(truth, BATCH), strict=True):
                    measure.update(model(images), labels)
            found.append(measure.compute())
        return found

    seconds = len(BITS) * (study.scale.images or 10_000) * study.setting(network).ann_ms / 3000
    found = study.measured(key, work, seconds=seconds)
    wanted = study.accuracy(network, "hire", seed)
    return next((bits for bits, percent in zip(BITS, found, strict=False) if percent >= wanted), None)


def quantised_energy(report: EnergyReport, bits: int, prices: Prices) -> float:
    """Picojoules of the ANN with activations of `bits` bits; the image in full."""
    # The report prices an ANN of as many bits as its T asks for, and 2^b - 1 steps ask for b.
    return replace(report, timesteps=2**bits - 1).quantised_ann(prices)
