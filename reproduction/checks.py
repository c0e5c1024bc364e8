"""The five checks of Table 4 for obfuscated gradients, each decided by numbers, in two ways.

By accuracies, as sec. 5.3 of the paper argues, with one rule per check; and image by image, with the questions of
`hiresnn audit` (Athalye et al. 2018), where a yes means that the check fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.attacks import Model, parse, transfer, verified
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.behaviour import OWN
from hiresnn.audit.bounds import bound_at
from hiresnn.audit.rules import RuleScreening, questions, screen_rule
from hiresnn.metrics import correct
from reproduction.accuracy_page import Values
from reproduction.accuracy_tables import networks_of
from reproduction.claims import claims
from reproduction.labels import ATTACKS, left_out, network_label, network_labels, section, setting_notes, text
from reproduction.measurements import TWINS, Measurement, accuracy
from reproduction.page import Cell, Claim, Page, Table
from reproduction.page import verdict as page_verdict
from reproduction.scales import Scale
from reproduction.study import Study

SLACK = 1.0
"""Percentage points within which two accuracies count as equal in checks (iii) and (iv)."""
BUDGET = (50, 20, 200, 100)
"""Largest number of images, PGD iterations, queries of Square, draws of noise, for the checks image by image."""
TWIN_STEP = 0.25
"""Step size of the attack on a twin, as a share of the bound."""

CHECKS: dict[str, str] = section("table4.checks")
"""Name of a check in claims.toml -> what a network must not show."""
RULES = tuple(rule.format(slack=SLACK) for rule in section("table4.rules").values())
"""By accuracies, in the order of CHECKS."""
COLUMNS = ["model", "data set", "check", "paper", "by accuracies", "evidence", "image by image", "evidence, images"]


Left = Mapping[tuple[str | None, str], float]
"""Attack and box, as in `_attacks` -> the accuracy that is left, in percent."""
Result = tuple[bool, str]
"""Whether one check passed, and the numbers that decided."""


def judge(left: Left, scale: Scale) -> list[Result]:
    """The five checks by accuracies, in the order of CHECKS, each by its rule in RULES."""
    fgsm, pgd = left["fgsm", "white"], left["pgd", "white"]
    unbounded, random = left["pgd:eps=1", "white"], left[_noise(scale), "white"]
    return [
        (pgd < fgsm, f"FGSM leaves {fgsm:.1f} %, PGD {pgd:.1f} %"),
        _black_box(left),
        _bound(left, scale),
        (unbounded <= SLACK, f"PGD without a bound leaves {unbounded:.1f} %"),
        (random > pgd, f"random draws leave {random:.1f} %, PGD {pgd:.1f} %"),
    ]


def _black_box(left: Left) -> Result:
    passed, words = True, []
    for attack in ATTACKS:
        white, black = left[attack, "white"], {kind: left[attack, kind] for kind in TWINS}
        passed &= all(each >= white for each in black.values())
        twins = ", ".join(f"{each:.1f} % made on the {kind} twin" for kind, each in black.items())
        words.append(f"{attack.upper()} leaves {white:.1f} % made on itself, {twins}")
    return passed, "; ".join(words)


def _bound(left: Left, scale: Scale) -> Result:
    found = {"0": left[None, "white"], **{bound: left[f"pgd:eps={bound}", "white"] for bound in scale.eps}}
    clean, *attacked = found.values()
    rose = any(after > lowest + SLACK for lowest, after in zip(accumulate(found.values(), min), attacked, strict=False))
    words = ", ".join(f"{accuracy:.1f} % at {bound}" for bound, accuracy in found.items())
    return not rose and attacked[-1] < clean, f"PGD leaves {words}"


def verdict(results: Sequence[Result]) -> tuple[str, str]:
    """(verdict, evidence) over seeds, of the first seed that fails or otherwise of the first; the evidence names it."""
    failed = [seed for seed, result in enumerate(results) if not result[0]]
    shown = failed[0] if failed else 0
    evidence = f"seed {shown}: {results[shown][1]}"
    if not failed:
        return "pass", evidence
    return ("fail" if len(results) == 1 else f"fail in {len(failed)} of {len(results)} seeds"), evidence


def table4_needs(scale: Scale) -> list[Measurement]:
    """What both ways of judging look at; most of it is shared with Tables 2 and 3 and with Fig. 8a."""
    networks = networks_of(scale, "table2")
    by_accuracy = [accuracy(network, "hire", attack, box) for network in networks for attack, box in _attacks(scale)]
    return [*by_accuracy, *map(_by_image, networks)]


def table4(values: Values) -> Page:
    """A row for each network and check; with several seeds a check passes if it passes for each of them."""
    scale = values.scale
    networks = networks_of(scale, "table2")
    rows: list[list[Cell]] = []
    judged: list[Claim] = []
    for network in networks:
        by_image = values.all(_by_image(network))
        left = {each: values.all(accuracy(network, "hire", *each)) for each in _attacks(scale)}
        results = {
            "by accuracies": [
                judge(dict(zip(left, each, strict=True)), scale) for each in zip(*left.values(), strict=True)
            ],
            "image by image": [[(not each["yes"], each["evidence"]) for each in seed] for seed in by_image],
        }
        for place, (key, check) in enumerate(CHECKS.items()):
            paper = str(claims().table4[key])
            cells: list[Cell] = [*network_labels(network), check, paper]
            for each in results.values():
                cells += verdict([seed[place] for seed in each])
            rows.append(cells)
        judged += [_passes(network, way, each) for way, each in results.items()]
    notes = [
        *setting_notes(scale, networks),
        *left_out(claims().table2, networks),
        f"By accuracies: {'; '.join(RULES)}.",
        text("table4.by_image", images=BUDGET[0], steps=BUDGET[1], queries=BUDGET[2], draws=BUDGET[3]),
        text("table4.sampling"),
    ]
    return Page([Table(text("table4.caption"), COLUMNS, rows)], notes=notes, networks=networks, claims=judged)


def _passes(network: str, way: str, seeds: Sequence[Sequence[Result]]) -> Claim:
    """The claim that a network passes all five checks, in one of the two ways."""
    names = [check.split()[0] for check in CHECKS.values()]
    failed = [name for place, name in enumerate(names) if not all(seed[place][0] for seed in seeds)]
    found = f"fails {', '.join(failed)}" if failed else f"passes all five with {len(seeds)} seed(s)"
    return Claim(text("table4.claim"), page_verdict(not failed), found, f"{network_label(network)}, {way}", "sec. 5.3")


def _attacks(scale: Scale) -> list[tuple[str | None, str]]:
    """Attack and box of everything that `judge` reads: both twins at every scale, as image by image."""
    white = [None, *ATTACKS, *(f"pgd:eps={bound}" for bound in scale.eps), "pgd:eps=1", _noise(scale)]
    return [*((attack, "white") for attack in white), *((attack, box) for box in TWINS for attack in ATTACKS)]


def _noise(scale: Scale) -> str:
    return f"noise:kind=uniform,draws={scale.random_draws}"


def _by_image(network: str) -> Measurement:
    return Measurement("gradient-checks", network, "hire", grid=BUDGET)


def gradient_checks(study: Study, wanted: Measurement) -> list[dict[str, Any]]:
    """The audit's five questions on one network."""
    study.progress.line(f"  {study.name(wanted.run)}: five checks, image by image")
    images, labels = study.shown(wanted.network, study.scale.images)
    network, *twins = (study.network(run) for run in wanted.runs())
    eps = study.scale.recipe(wanted.run).attack.eps
    return answers(network, dict(zip(TWINS, twins, strict=True)), eps, images, labels, wanted.grid)


def answers(
    network: nn.Module,
    twins: Mapping[str, nn.Module],
    eps: float,
    images: Tensor,
    labels: Tensor,
    budget: Sequence[float],
) -> list[dict[str, Any]]:
    """Answers to the audit's five questions on correctly classified images; `budget` as BUDGET."""
    count, steps, queries, draws = map(int, budget)
    model, bound = InstrumentedModel(network, images[:16]), bound_at(eps)
    with torch.no_grad():
        right = correct(torch.cat([network(part) for part in torch.split(images, 200)]), labels)
    shown, truth = images[right][:count], labels[right][:count]
    screened = RuleScreening.read(OWN, screen_rule(model, OWN, shown, truth, bound, steps))

    def broken(attack: str, maker: Model | None = None) -> Any:
        spec = parse(attack, eps=bound.radius, step=TWIN_STEP * bound.radius)
        aimed = spec if maker is None else transfer(spec, maker)
        adversarial = verified(aimed, model, shown, truth, eps=bound.radius)
        with torch.no_grad():
            return (~correct(model(adversarial), truth)).cpu().numpy()

    blind = {f"noise, {kind}": broken(f"noise:kind={kind},draws={draws}") for kind in ("uniform", "sign")}
    blind["Square"] = broken(f"square:queries={queries}")
    for kind, twin in twins.items():
        made = f"pgd-restarts:iterations={steps},restarts=1,loss=margin"
        blind[f"images of the {kind} twin"] = broken(made, twin)
    return [{"yes": bool(each.yes), "evidence": each.evidence} for each in questions(screened, blind, bound)]
