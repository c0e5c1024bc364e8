"""Table 4: the five checks for obfuscated gradients, on HIRE-SNN, each computed and judged by a stated rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiresnn.attacks import Model, parse, transfer, verified
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.bounds import bound_at
from hiresnn.audit.instrumented import OWN
from hiresnn.audit.screening import RuleScreening, screen_rule
from hiresnn.audit.verdict import questions
from hiresnn.metrics import correct
from hiresnn.paper.accuracies import ATTACKS, missing_note, networks_of
from hiresnn.paper.artefact import Artefact, Cell, Table
from hiresnn.paper.checks import CHECKS, KEYS, RULES, Accuracies, Judged, judge
from hiresnn.paper.claims import claims
from hiresnn.paper.study import TWINS, Study
from hiresnn.paper.words import network_words, setting_notes

SAMPLE, CLIMBS, QUERIES, DRAWS = 50, 20, 200, 100
"""Images asked one by one, iterations of their PGDs, queries of Square, draws of noise: as `hiresnn audit` scouts."""
STEP = 0.25
"""Share of the bound that a step of the attack on a twin takes."""
COLUMNS = ["model", "data set", "check", "paper", "by accuracies", "evidence", "image by image", "evidence, images"]
CAPTION = "Checks on HIRE-SNN: passed means that nothing speaks for obfuscated gradients."
IMAGE_NOTES = (
    f"Image by image: the questions of hiresnn audit on at most {SAMPLE} images that are classified correctly, at the "
    "bound of the paper's attacks. A check fails there where one attack breaks images that the other leaves, more "
    "often than chance allows (sign test, 5 %), or where more than 5 % of the images speak against it. PGD climbs "
    f"{CLIMBS} steps by cross-entropy and by margin and counts any iterate; the attacks without its gradient are "
    f"Square with {QUERIES} queries, {DRAWS} draws each of uniform and of sign noise, and images of both twins.",
    "Check (v) as the paper words it, that random sampling finds adversarial examples, is asked as Athalye et al. mean "
    "it: does it find what gradients do not? Five passes prove nothing; they are the absence of a reason to doubt.",
)


def table4(study: Study) -> Artefact:
    """A row for each network and check; with several seeds a check passes where it passes for each of them."""
    networks = networks_of(study, "table2")
    rows: list[list[Cell]] = []
    apart: list[str] = []
    for network in networks:
        seeds = study.seeds_of(network)
        by_accuracy = [judge(accuracies(study, network, seed)) for seed in seeds]
        by_image = [_asked(study, network, seed) for seed in seeds]
        for place, key in enumerate(KEYS):
            paper = str(claims().table4[key])
            cells: list[Cell] = [*network_words(network), CHECKS[place], paper]
            for way, each in (("by accuracies", by_accuracy), ("image by image", by_image)):
                said, evidence = verdict([one[place] for one in each])
                cells += [said, evidence]
                if said != paper:
                    apart.append(f"{' / '.join(network_words(network))} {CHECKS[place].split()[0]} {way}")
            rows.append(cells)
    rules = "; ".join(f"{check.split()[0]} {rule}" for check, rule in zip(CHECKS, RULES, strict=True))
    notes = [
        *setting_notes(study, networks),
        *missing_note(study, "table2"),
        f"By accuracies: {rules}.",
        *IMAGE_NOTES,
        f"Verdicts that are not the paper's: {len(apart)} of {2 * len(rows)}{': ' * bool(apart)}{'; '.join(apart)}.",
    ]
    return Artefact("table4", "Five checks for obfuscated gradients", [Table(CAPTION, COLUMNS, rows)], notes=notes)


def verdict(judged: list[Judged]) -> tuple[str, str]:
    """(verdict, evidence) over seeds: that of the first seed that fails, else of the first."""
    failed = [one for one in judged if not one.passed]
    if not failed:
        return "pass", judged[0].evidence
    return "fail" if len(judged) == 1 else f"fail in {len(failed)} of {len(judged)} seeds", failed[0].evidence


def accuracies(study: Study, network: str, seed: int) -> Accuracies:
    """What the rules by accuracy look at; most of it is that of Tables 2 and 3 and of Fig. 8a."""

    def left(attack: str | None, box: str = "white") -> float:
        return study.accuracy(network, "hire", seed, attack, box=box)

    return Accuracies(
        clean=left(None),
        white={attack: left(attack) for attack in ATTACKS},
        black={box: {attack: left(attack, box) for attack in ATTACKS} for box in TWINS},
        bounds=[(bound, left(f"pgd:eps={bound}")) for bound in study.scale.eps],
        unbounded=left("pgd:eps=1"),
        random=left(f"noise:kind=uniform,draws={study.scale.random_draws}"),
    )


def _asked(study: Study, network: str, seed: int) -> list[Judged]:
    """The audit's five questions on one network; a check passes where the answer is no."""
    run, recipe = study.run(network, "hire", seed), study.recipe(network, "hire", seed)
    twins = {kind: study.run(network, "hire", seed, twin=kind) for kind in TWINS}
    key = {
        "what": "questions", "run": run.name, "twins": [twin.name for twin in twins.values()], "eps": recipe.attack.eps,
        "images": study.scale.images, "sample": [SAMPLE, CLIMBS, QUERIES, DRAWS],
    }  # fmt: skip

    def work() -> Any:
        study.progress.line(f"  {run.name}: five questions, image by image")
        images, labels = study.images.shown(network, study.scale.images)
        return _questions(study, run, twins, recipe.attack.eps, images, labels)

    passes = 2 * 3 * CLIMBS + QUERIES + 2 * DRAWS + 2 * 2 * CLIMBS + DRAWS
    seconds = SAMPLE * passes * recipe.snn.timesteps * study.setting(network).step_ms / 2000
    unknown = [{"yes": True, "evidence": "unmeasured"}] * len(KEYS)
    found = study.measured(key, work, seconds=seconds, like=unknown)
    return [Judged(not each["yes"], each["evidence"]) for each in found]


def _questions(
    study: Study, run: Path, twins: dict[str, Path], eps: float, images: Tensor, labels: Tensor
) -> list[dict[str, Any]]:
    network = study.network_of(run)
    model, bound = InstrumentedModel(network, images[:16]), bound_at(eps)
    with torch.no_grad():
        right = correct(torch.cat([network(part) for part in torch.split(images, 200)]), labels)
    shown, truth = images[right][:SAMPLE], labels[right][:SAMPLE]
    screening = RuleScreening.read(OWN, screen_rule(model, OWN, shown, truth, bound, CLIMBS))

    def broken(text: str, maker: Model | None = None) -> Any:
        spec = parse(text, eps=bound.radius, step=STEP * bound.radius)
        attack = spec if maker is None else transfer(spec, maker)
        adversarial = verified(attack, model, shown, truth, eps=bound.radius)
        with torch.no_grad():
            return (~correct(model(adversarial), truth)).cpu().numpy()

    blind = {f"noise, {kind}": broken(f"noise:kind={kind},draws={DRAWS}") for kind in ("uniform", "sign")}
    blind["Square"] = broken(f"square:queries={QUERIES}")
    for kind, twin in twins.items():
        made = f"pgd-restarts:iterations={CLIMBS},restarts=1,loss=margin"
        blind[f"images of the {kind} twin"] = broken(made, study.network_of(twin))
    return [{"yes": bool(each.yes), "evidence": each.evidence} for each in questions(screening, blind, bound)]
