"""What an image costs in total, by network and by count: the rows of Table 7 and the bars of Fig. 11."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hiresnn.analysis import PRICES, EnergyReport, Prices
from hiresnn.paper.counting import equal_bits, has_rate, quantised_energy, reports
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study

PRINTED, EVERY = "as printed", "every operation"
"""The two counts."""


@dataclass(frozen=True)
class Total:
    """Energy of one image, in picojoules.

    Attributes:
        who: "hire", "rate", "ann", "equal-levels" or "equal-accuracy" (ANNs with few bits), "attacked" (HIRE on images
            of the recipe's PGD), "training" (the forward pass of HIRE, whose image changes N times).
        count: PRINTED or EVERY.
        pj: price list ("fp32", "int32") -> over seeds, NaN for a seed that has none; None where no seed has it.
        bits: of an activation, over seeds as `pj`, of an ANN with few bits.
    """

    who: str
    count: str
    pj: dict[str, Stat | None]
    bits: Stat | None = None

    def over(self, other: Total, price: str) -> Stat | None:
        """How many times the energy of `other` this is, seed by seed over the first that both have."""
        ours, theirs = self.pj[price], other.pj[price]
        if ours is None or theirs is None:
            return None
        return Stat.of(one / two for one, two in zip(ours.values, theirs.values, strict=False))


def totals(study: Study, network: str) -> dict[tuple[str, str], Total]:
    """(who, count) -> the total, for one network; "rate" where the paper has a rate-coded one."""
    hire, attacked = reports(study, network, "hire"), reports(study, network, "hire", attack="pgd")
    periods = study.recipe(network, "hire", 0).noise.periods
    training = reports(study, network, "hire", variants=periods)
    found = [
        _total("hire", PRINTED, hire, EnergyReport.snn_printed),
        _total("hire", EVERY, hire, EnergyReport.snn),
        _total("attacked", PRINTED, attacked, EnergyReport.snn_printed),
        _total("attacked", EVERY, attacked, EnergyReport.snn),
        _total("training", EVERY, training, EnergyReport.snn),
    ]
    if has_rate(network):
        rate = reports(study, network, "rate")
        found += [
            _total("rate", PRINTED, rate, EnergyReport.snn_printed),
            _total("rate", EVERY, rate, EnergyReport.snn),
        ]
    found += [
        _total("ann", PRINTED, hire, EnergyReport.ann_printed),
        _total("ann", EVERY, hire, EnergyReport.ann),
        _few_bits("equal-levels", hire, [report.bits for report in hire]),
        _few_bits("equal-accuracy", hire, [equal_bits(study, network, seed) for seed in study.seeds_of(network)]),
    ]
    return {(total.who, total.count): total for total in found}


def _total(
    who: str, count: str, measured: list[EnergyReport], energy: Callable[[EnergyReport, Prices], float]
) -> Total:
    pj = {name: Stat.of(energy(report, prices) for report in measured) for name, prices in PRICES.items()}
    return Total(who, count, dict(pj))


def _few_bits(who: str, measured: list[EnergyReport], bits: list[int | None]) -> Total:
    if all(each is None for each in bits):
        return Total(who, EVERY, dict.fromkeys(PRICES))
    seeds = list(zip(measured, bits, strict=True))
    pj = {
        name: Stat.of(math.nan if each is None else quantised_energy(report, each, prices) for report, each in seeds)
        for name, prices in PRICES.items()
    }
    return Total(who, EVERY, dict(pj), Stat.of(math.nan if each is None else each for each in bits))
