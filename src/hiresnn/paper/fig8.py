"""Fig. 8: VGG5 under white-box PGD, over the bound of the attack and over its number of iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from hiresnn.attacks import frozen, pgd
from hiresnn.metrics import correct
from hiresnn.paper.accuracies import over
from hiresnn.paper.artefact import Artefact
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.plan import attack_seconds
from hiresnn.paper.stat import Stat, largest
from hiresnn.paper.study import Study
from hiresnn.paper.sweep import CLEAN, Curve, draw, judged, known, points, printed_accuracy, table
from hiresnn.paper.words import METHODS, network_words, setting_notes
from hiresnn.runs.evaluate import attack_of

NETWORK = "vgg5-cifar10"
BATCH = 200
DRAWN = ("hire", "traditional")


def fig8a(study: Study) -> Artefact:
    """Accuracy in percent under PGD at each bound of the scale and at the recipe's; K and alpha / eps stay."""
    recipe = study.recipe(NETWORK, "hire", 0)
    own = round(255 * recipe.attack.eps, 6)
    bounds = {0.0: None, own: "pgd"} | {_level(eps): f"pgd:eps={eps}" for eps in study.scale.eps}
    printed_at = {0.0: CLEAN, _level(claims().setting.eps): "pgd"}
    curves = [_curve(study, method, bounds, printed_at) for method in DRAWN]
    hire = curves[0]
    falls = [later.minus(earlier).mean for earlier, later in zip(hire.stats, hire.stats[1:], strict=False)]
    notes = [
        *setting_notes(study, (NETWORK,)),
        f"alpha is {recipe.attack.step / recipe.attack.eps:.3g} eps at every bound, so that K steps reach as far.",
        "The paper draws its HIRE-SNN; traditional training is measured beside it.",
        judged(
            "a larger bound lowers the accuracy (Table 4, iii); a rise of up to 1 point counts as none",
            largest(falls) <= 1,
            f"the largest change from one bound to the next is {largest(falls):+.1f} points",
        ),
        judged(
            "accuracy reaches about 0 % (Table 4, iv); 1 % counts as that",
            hire.last.mean <= 1,
            f"{hire.last.mean:.1f} % is left at {hire.x[-1]:g}/255, the largest bound here",
        ),
    ]

    def arrange(plotting: Any, axes: Any) -> None:
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xticks(hire.x, [f"{x:g}" for x in hire.x])
        axes.minorticks_off()

    title = "Accuracy over the bound of the attack"
    return _artefact("fig8a", title, curves, "eps (1/255)", "PGD bound ε (1/255)", notes, arrange)


def fig8b(study: Study) -> Artefact:
    """Accuracy in percent under PGD after each number of iterations K of the scale, eps and alpha the recipe's."""
    own = study.recipe(NETWORK, "hire", 0).attack.iterations
    counts = sorted({*study.scale.iterations, own})
    curves = [_iterated(study, method, counts) for method in DRAWN]
    hire = curves[0]
    notes = [
        *setting_notes(study, (NETWORK,)),
        "The paper draws its HIRE-SNN; traditional training is measured beside it.",
        judged(
            "accuracy decreases with K",
            hire.last.mean < hire.first.mean,
            f"{hire.first.mean:.1f} % at K = {hire.x[0]:g}, {hire.last.mean:.1f} % at K = {hire.x[-1]:g}",
        ),
        _levels_off(hire),
    ]

    def arrange(plotting: Any, axes: Any) -> None:
        plotting.logarithmic(axes, "x", hire.x)

    return _artefact(
        "fig8b", "Accuracy over the iterations of the attack", curves, "K", "PGD iterations K", notes, arrange
    )


def _levels_off(curve: Curve) -> str:
    after = printed("fig8b", "levels_off_after") or 0.0
    claim = f"accuracy levels off after K = {after:g}; a change of up to 1 point counts as level"
    if after not in curve.x or curve.x[-1] == after:
        return judged(claim, None, f"this scale's K ends at {curve.x[-1]:g}")
    change = curve.last.minus(curve.at(after))
    return judged(claim, abs(change.mean) <= 1, f"{points(change)} points from K = {after:g} to K = {curve.x[-1]:g}")


def _level(eps: str) -> float:
    return round(float(255 * Fraction(eps)), 6)


def _iterated(study: Study, method: str, counts: list[int]) -> Curve:
    measured = [by_iteration(study, method, seed, counts) for seed in study.seeds_of(NETWORK, method)]
    stats = tuple(Stat.of(values) for values in zip(*measured, strict=True))
    printed_at = claims().setting.iterations
    paper = known({float(printed_at): printed_accuracy(NETWORK, method, "pgd", "white")})
    return Curve((METHODS[method],), method, tuple(map(float, counts)), stats, paper)


def by_iteration(study: Study, method: str, seed: int, counts: list[int]) -> list[float]:
    """Accuracy in percent after each of `counts` iterations of the recipe's PGD, all from one run of the longest."""
    recipe, run = study.recipe(NETWORK, method, seed), study.run(NETWORK, method, seed)
    spec = attack_of(recipe, f"pgd:iterations={counts[-1]}", seed)
    images = study.scale.images
    key = {"what": "by-iteration", "run": run.name, "options": spec.resolved(), "counts": counts, "images": images}

    def work() -> list[float]:
        model = study.network_of(run)
        shown, labels = study.images.shown(NETWORK, images)
        right = dict.fromkeys(counts, 0)
        with study.progress.task(f"  {run.name}: PGD by iteration", len(labels)) as task:
            for batch, truth in zip(torch.split(shown, BATCH), torch.split(labels, BATCH), strict=True):

                def watch(done: int, logits: Tensor, truth: Tensor = truth) -> None:
                    if done in right:
                        right[done] += int(correct(logits, truth).sum())

                adversarial = pgd(model, batch, truth, watch=watch, **spec.arguments())
                with frozen(model), torch.no_grad():
                    watch(counts[-1], model(adversarial))
                task.advance(len(truth))
        return [100 * right[count] / len(labels) for count in counts]

    seconds = attack_seconds(recipe, study.setting(NETWORK), images, counts[-1])
    values: list[float] = study.measured(key, work, seconds=seconds, like=[float("nan")] * len(counts))
    return values


def _curve(study: Study, method: str, attacks: Mapping[float, str | None], printed_at: Mapping[float, str]) -> Curve:
    x = sorted(attacks)
    paper = known({at: printed_accuracy(NETWORK, method, what, "white") for at, what in printed_at.items()})
    stats = tuple(over(study, NETWORK, method, attacks[at]) for at in x)
    return Curve((METHODS[method],), method, tuple(x), stats, paper)


def _artefact(
    name: str,
    title: str,
    curves: Sequence[Curve],
    column: str,
    axis: str,
    notes: list[str],
    arrange: Callable[[Any, Any], None],
) -> Artefact:
    def figure(plotting: Any) -> Any:
        drawn, (axes,) = plotting.figure(height=2.6)
        arrange(plotting, axes)
        draw(plotting, axes, curves)
        plotting.label(axes, x=axis, y="accuracy (%)")
        plotting.legend(axes)
        return drawn

    caption = (
        f"{' on '.join(network_words(NETWORK))}, white-box PGD: accuracy in percent, mean ± sample standard deviation "
        "over seeds. The paper's values are those of its Tables 1 and 2."
    )
    return Artefact(name, title, [table(caption, column, ("method",), curves)], figure, notes)
