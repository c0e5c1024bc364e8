"""The audit: the paper's protocol, then stages of screening and attacks over all bounds, worst case per image.

A unit of work is one attack at one bound on one batch. It is named by them and draws from its own seed. A unit that the
cache holds is not repeated, so an interrupted audit continues, and a larger preset continues a smaller one. Bounds go
from small to large, and a broken image is not attacked at a larger bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.attacks import LOSSES, Attack, AttackSpec, Model, check, fgsm, frozen, loss_gradient
from hiresnn.attacks.adaptive import MomentumStep
from hiresnn.attacks.ball import Ball
from hiresnn.attacks.gate import perturbed, uniform
from hiresnn.attacks.iterative import Step, fixed_step
from hiresnn.attacks.losses import margin
from hiresnn.audit.behaviour import OWN, ROUNDING, Cost, InstrumentedModel, seed_of
from hiresnn.audit.card import Check, Longer, Randomness, Tried, Voted
from hiresnn.audit.draws import MOST, TOLERANCE, VOTES, HardestImages, draws_needed
from hiresnn.audit.presets import DIRECTIONS, PRESETS, PROTOCOL, AuditConfig, PlannedAttack, Stage, plan_attack, planned
from hiresnn.calls import UNBOUNDED, Bound
from hiresnn.checks import correct, fingerprint, require_classes
from hiresnn.errors import UsageError
from hiresnn.progress import Progress

Record = Mapping[str, "NDArray[Any]"]
"""Arrays by name: the result of one unit of work, as the cache stores it."""
Broken = NDArray[np.bool_]
TRANSFERRED = "pgd-restarts:iterations=20,restarts=1,loss=margin"  # the attack that makes images on a twin
STEPS = 40  # of the attack that says how many draws a gradient needs
WIDER = 4  # factor of the larger bound at which an attack must break more
RISE = 0.05  # share of the total rise above which one in the last steps counts as unfinished (Pintor et al. 2022, I4)
LAST = 10  # the number of last steps, at most half of all
RADIUS = 8 / 255  # of the random directions for the stability of the loss


class Units(Protocol):
    """Where finished units of work are kept by key, such as a dict."""

    def get(self, key: str, /) -> Record | None: ...
    def __setitem__(self, key: str, record: Record, /) -> None: ...


class WorstCase:
    """The worst case per image over all attacks and bounds.

    An image that is broken at one bound is broken at every larger one. What gradient attacks broke is recorded a second
    time, so that what attacks without gradients broke of the rest does not depend on the order of the attacks.
    """

    def __init__(self, wrong: Bool[Tensor, " image"], bounds: Sequence[Bound]) -> None:
        self.bounds = tuple(bounds)
        # For each image the position in `bounds` of the smallest that broke it; len(bounds) if none did.
        self.level: Int64[Tensor, " image"] = torch.where(wrong, 0, len(self.bounds))
        self.gradient_level = self.level.clone()  # the same for gradient attacks alone
        self.by = [""] * len(wrong)  # label of the attack that broke the image, if one did
        self.adversarial: dict[int, Tensor] = {}  # image -> what broke it at its smallest bound, [C, H, W] on the CPU
        self.costs: dict[str, Cost] = {}  # label -> the cost of that attack, in the order of first use

    def standing(self, bound: Bound, *, gradient: bool = False) -> Int64[Tensor, " left"]:
        """Images that nothing (or, with `gradient`, no gradient attack) broke at `bound`."""
        level = self.gradient_level if gradient else self.level
        return (level > self.bounds.index(bound)).nonzero()[:, 0]

    def count(self, bound: Bound, *, gradient: bool = False) -> int:
        return len(self.standing(bound, gradient=gradient))

    def update(self, label: str, bound: Bound, broken: Mapping[int, Tensor], cost: Cost, *, gradient: bool) -> None:
        """Record what the attack `label` broke at `bound`; an image broken at one no larger keeps its first attack."""
        self.costs.setdefault(label, Cost()).add(cost)
        level = self.bounds.index(bound)
        for image, adversarial in broken.items():
            if gradient:
                self.gradient_level[image] = min(int(self.gradient_level[image]), level)
            if self.level[image] > level:
                self.level[image], self.by[image], self.adversarial[image] = level, label, adversarial

    def broke(self, label: str) -> dict[str, int]:
        """Bound -> number of images whose smallest bound that is, broken by the attack `label`."""
        levels = zip(self.level.tolist(), self.by, strict=True)
        return dict(Counter(self.bounds[level].label for level, by in levels if by == label))


def audit(
    model: InstrumentedModel,
    images: Tensor,
    labels: Tensor,
    config: AuditConfig,
    *,
    twins: Mapping[str, InstrumentedModel] | None = None,
    cache: Units | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """Audit a network on images [B, C, H, W] in [0, 1], in an order of which a smaller audit sees the beginning.

    Twins, by name, are networks whose adversarial images are tried on this one; the cache keeps finished units. Raises
    UsageError if no image is classified correctly, a label is not a class of the network, or the network fails.
    """
    require_classes(labels, model.classes)
    result = AuditResult(model, images, labels.long(), config, {} if cache is None else cache)
    result.run(twins or {}, progress or Progress(quiet=True))
    return result


class AuditResult:
    """One audit, in progress and then complete; `build_card` makes the card of it."""

    def __init__(
        self, model: InstrumentedModel, images: Tensor, labels: Tensor, config: AuditConfig, cache: Units
    ) -> None:
        self.model, self.images, self.labels, self.config, self.cache = model, images, labels, config, cache
        self.bounds, self.headline, self.cost = config.curve, config.headline, Cost()
        self.attacks: dict[str, PlannedAttack] = {}  # label -> every attack that ran on all images, in order
        self.screened: dict[str, Record] = {}  # rule -> its screening in the last stage
        self.without_gradient: dict[str, Broken] = {}  # what attacks without a gradient broke of the screened images
        self.screened_at, self.selected, self.dropped = self.headline, [OWN], list[str]()  # the best rules first
        self.checks: list[Check] = []
        # Of every gradient attack at the headline: images attacked, gradients that it took, images that it broke.
        self.searches: list[tuple[int, int, int]] = []
        self.batches = self._batches(model.draws)
        self.random: Randomness | None = None  # see `_converge`
        self.worked, self.computed = set[int](), set[int]()  # numbers of attacks: any unit, any that the cache lacked

    def _batches(self, draws: int) -> list[tuple[int, int]]:
        """First and last row of batches that are small enough for so many draws of each image."""
        size, count = max(1, self.config.batch_size // draws), len(self.images)
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    def run(self, twins: Mapping[str, InstrumentedModel], progress: Progress) -> None:
        spec = AttackSpec.parse(TRANSFERRED)
        self.transfers = [PlannedAttack(f"transfer from {name}", spec, twin=twin) for name, twin in twins.items()]
        task = progress.task("audit", self._units(), "attacks")
        with frozen(self.model), self.model.averaging(), task as self.task:
            wrong = [
                self._alone(f"clean {start}-{stop}", lambda _, images, __: images, self.bounds[0], slice(start, stop))
                for start, stop in self.batches
            ]
            self.worst = WorstCase(torch.from_numpy(np.concatenate(wrong)), self.bounds)
            if not self.worst.count(self.bounds[0]):
                raise UsageError(
                    f"the network classifies none of {len(self.labels)} images correctly, so there is nothing to "
                    "attack; check that the images are in [0, 1] and the classes in the network's order."
                )
            # Attack of `PROTOCOL` -> bound -> images that it breaks alone, or that are wrong.
            self.alone = {text: self._protocol(text) for text in PROTOCOL}
            for number, stage in enumerate(self.config.plan.stages):
                self._screen(number, stage)
                self.selected, self.dropped = select_rules(self.screened, stage.most)
                if self.model.random and not number:
                    self._converge()
                self._sweep(planned(stage, self.selected, self.model, self.config.norm))
            self._sweep([*self.transfers, *self.config.added])
            if self.random:
                self._vote()
            self.task.note = self._from_before() or self.task.note
        self.checks = self.model.checks(self.cost.nonfinite)

    def _converge(self) -> None:
        """Double the draws of a gradient until the accuracy under attack stays, and give the attacks as many.

        The attack is momentum PGD under the best rule, of which the last iterate counts: an image that left with its
        first wrong answer would still be right in most draws. The attacks that follow use at least as many draws as an
        answer.
        """
        self.hardest, tolerance = HardestImages(self.labels), max(TOLERANCE, 100 / len(self.labels))
        clean, tried, needed = self._consider("clean", self.images), list[Tried](), None
        rules, draws = tuple(rule for rule in self.selected[:1] if rule not in (OWN, ROUNDING)), 1
        while needed is None and draws <= MOST:
            self.model.gradient_draws = draws
            spec = AttackSpec("momentum", {"iterations": STEPS, "loss": "margin", "draws": draws}, rules)
            label = str(spec)
            self.attacks[label] = PlannedAttack(label, spec)
            adversarial = self.images.clone()
            for start, stop in self._batches(draws):
                self.task.advance(0, f"{label} at {self.headline.label}, image {start} of {len(self.images)}")
                record = self._unit(f"{label} {start}-{stop}", partial(self._last_iterates, slice(start, stop)))
                adversarial[start:stop] = torch.from_numpy(record["adversarial"]).to(adversarial)
                rows = (start + record["broken"].nonzero()[0]).tolist()
                images = dict(zip(rows, adversarial[rows].cpu(), strict=True))
                cost = replace(cost_of(record), attacked=stop - start)
                self.worst.update(label, self.headline, images, cost, gradient=True)
            accuracy = self._consider(label, adversarial)
            tried.append(Tried(draws=draws, vote=accuracy.vote.percent, mean=accuracy.mean))
            needed, draws = draws_needed(tried, tolerance), 2 * draws
        used = self.model.gradient_draws = max(self.model.draws, needed or MOST)
        self.batches = self._batches(used)
        self.random = Randomness(
            votes=VOTES, clean=clean, attacked=accuracy, tried=tried, tolerance=tolerance, needed=needed, used=used
        )

    def _last_iterates(self, rows: slice) -> Record:
        def attack(model: Model, images: Tensor, labels: Tensor) -> Tensor:
            ball = Ball(self.headline.radius, self.headline.norm)
            step = MomentumStep(ball, STEPS, decay=0.9)  # which averages over the noise of ten gradients
            with self.model.under(self.selected[0]):
                return trace_pgd(model, images, labels, ball, iterations=STEPS, loss="margin", step=step).last

        broken, adversarial = self._broken(attack, self.headline, rows)
        return {"adversarial": adversarial.cpu().numpy(), "broken": broken.cpu().numpy()}

    def _consider(self, name: str, images: Tensor) -> Voted:
        """Let single draws vote on one version of every image; the accuracy of the hardest versions so far."""
        work = (partial(self._votes, batch) for batch in torch.split(images, self.config.batch_size))
        votes = [self._unit(f"votes {name} {number}", unit)["votes"] for number, unit in enumerate(work)]
        return self.hardest.consider(torch.from_numpy(np.concatenate(votes, 1)))

    def _votes(self, images: Tensor) -> Record:
        return {"votes": self.model.votes(images, 2 * VOTES).numpy()}

    def _vote(self) -> None:
        """Measure the accuracy over draws on what all attacks made of the images up to the headline."""
        assert self.random is not None
        images, top = self.images.clone(), self.bounds.index(self.headline)
        for image, adversarial in self.worst.adversarial.items():
            if self.worst.level[image] <= top:
                images[image] = adversarial.to(images)
        name = f"worst {fingerprint([('images', images)])}"
        self.random = self.random.model_copy(update={"attacked": self._consider(name, images)})

    def _units(self) -> int:
        """About how many attacks will run, counting each bound."""
        attacks = len(PROTOCOL) + len(self.transfers) + len(self.config.added)
        screening = once = 0
        for stage in self.config.plan.stages:
            rules = [rule for rule in stage.rules if self.model.takes(rule)]
            steps = planned(stage, rules[: stage.most], self.model, self.config.norm)
            attacks += len([attack for attack in steps if not attack.top])
            once += len([attack for attack in steps if attack.top])
            screening += len(rules) + 3 + len(self.transfers)
        return screening + once + attacks * (len(self.bounds) - 1)

    def _advance(self, phase: str, label: str, bound: Bound) -> None:
        """Report the attack that begins, and how many images stand at its bound in the worst case so far."""
        standing = f"{self.worst.count(bound)} of {len(self.images)} stand"
        parts = f"{phase}: {label} at {bound.label}", standing, self._from_before()
        self.task.advance(1, ", ".join(filter(None, parts)))

    def _from_before(self) -> str:
        """How many of the attacks so far were finished before this audit continued."""
        done = self.task.done
        before = len(self.worked - self.computed - {0})
        return f"{before} of {done} attacks are from before" if before else ""

    def _protocol(self, text: str) -> dict[str, Tensor]:
        """One attack of the protocol with the own gradient as it is: bound -> images that it breaks alone."""
        attack = replace(plan_attack(text, self.headline, self.config.paper), plain=True)
        before = self.worst.level == 0
        broken = {self.bounds[0].label: before}
        for bound in self.bounds[1:]:
            self._advance("paper's protocol", attack.label, bound)
            broken[bound.label] = now = before.clone()
            now[self._attack("alone", attack, bound, (~before).nonzero()[:, 0])] = True
            if not attack.follows_gradient:  # a draw within a small bound is a draw within every larger one
                before = now
        return broken

    def _screen(self, number: int, stage: Stage) -> None:
        """Try every rule alone on the first images that stand, and the attacks without a gradient beside them."""
        sample = (self.worst.level > 0).nonzero()[: stage.sample, 0]
        standing = {bound: int((~self.alone["pgd"][bound.label][sample]).sum()) for bound in self.bounds}
        bound = self.screened_at = screening_bound(self.bounds, standing, len(sample), self.headline)
        images, labels = self.images[sample], self.labels[sample]
        key = f"screen {number} {bound.label} {len(sample)}"
        if stage not in PRESETS["thorough"].stages:  # which all presets of the package consist of
            key += f" {stage.iterations} {stage.directions}"
        self.screened, self.without_gradient = {}, {}
        for rule in filter(self.model.takes, stage.rules):
            self._advance("screening", rule, bound)
            work = partial(screen_rule, self.model, rule, images, labels, bound, stage.iterations, stage.directions)
            self.screened[rule] = self._unit(f"{key} {rule}", work)
        texts = [f"square:queries={stage.queries}"]
        texts += [f"noise:kind={kind},draws={stage.noise}" for kind in ("uniform", "sign")]
        for attack in [*(plan_attack(text, self.headline) for text in texts), *self.transfers]:
            self._advance("screening", attack.label, bound)
            broken = self._alone(f"{key} {attack.label}", attack.at(bound), bound, sample)
            self.without_gradient[attack.label] = broken

    def _sweep(self, attacks: Sequence[PlannedAttack]) -> None:
        """Every attack at every bound: the headline, then larger bounds, then smaller ones from large to small.

        A gradient attack gets all images that such attacks left, another one those that still stand. Below the headline
        an image is attacked only if it is broken at the next larger bound: one that stands there stands here.
        """
        for bound, larger in self._order():
            for attack in attacks:
                if attack.top and bound != self.headline:
                    continue
                self._advance("attacks", attack.label, bound)
                rows = self.worst.standing(bound, gradient=attack.follows_gradient)
                if larger is not None:
                    rows = rows[self.worst.level[rows] <= self.bounds.index(larger)]
                spent = replace(self.worst.costs.get(attack.label, Cost()))
                broken = len(self._attack("sweep", attack, bound, rows))
                if bound == self.headline and attack.follows_gradient and len(rows):
                    gradients = self.worst.costs[attack.label].backward - spent.backward
                    self.searches.append((len(rows), gradients, broken))

    def _order(self) -> list[tuple[Bound, Bound | None]]:
        """Bounds in the order of the attacks, those below the headline with the next larger one."""
        bounds = self.bounds[1:]
        top = bounds.index(self.headline)
        below = reversed([*pairwise(bounds[: top + 1])])
        return [*((bound, None) for bound in bounds[top:]), *below]

    def _attack(self, phase: str, attack: PlannedAttack, bound: Bound, rows: Tensor) -> Tensor:
        """Attack the images `rows` in batches and record what broke; returns those images."""
        self.attacks.setdefault(attack.label, attack)
        self.worst.costs.setdefault(attack.label, Cost())  # also where no image is left
        all_broken = [rows[:0]]
        for start, stop in self.batches:
            stop = min(stop, attack.first or stop)
            batch = rows[(rows >= start) & (rows < stop)]
            if not len(batch):
                continue
            # What stands depends on the earlier attacks, so a unit is named by its images too.
            digest = str(fingerprint([("rows", batch)]))[:12]
            key = f"{phase} {attack.label} at {bound.label} {digest} {start}-{stop}"
            record = self._unit(key, partial(self._broken_with_finish, attack, bound, batch))
            broken, images = torch.from_numpy(record["broken"]), torch.from_numpy(record["adversarial"])
            first, cost = torch.from_numpy(record["before_finish"]), replace(cost_of(record), attacked=len(batch))
            for part, gradient, spent in ((first, attack.follows_gradient, cost), (~first, False, Cost())):
                by_image = dict(zip(broken[part].tolist(), images[part], strict=True))
                self.worst.update(attack.label, bound, by_image, spent, gradient=gradient)
            all_broken.append(broken)
        return torch.cat(all_broken)

    def _broken_with_finish(self, attack: PlannedAttack, bound: Bound, rows: Tensor) -> Record:
        broken, adversarial = self._broken(attack.at(bound), bound, rows)
        first = broken.clone()
        if attack.queries and not bool(broken.all()):
            search = attack.at(bound, finish=adversarial[~first])
            broken[~first], adversarial[~first] = self._broken(search, bound, rows[~first.cpu()])
        return {
            "broken": rows[broken.cpu()].numpy(),
            "adversarial": adversarial[broken].cpu().numpy(),
            "before_finish": first[broken].cpu().numpy(),
        }

    def _alone(self, key: str, attack: Attack, bound: Bound, rows: Tensor | slice) -> Broken:
        """Which of these images one attack breaks, as a unit of work."""
        return self._unit(key, lambda: {"broken": self._broken(attack, bound, rows)[0].cpu().numpy()})["broken"]

    def _broken(self, attack: Attack, bound: Bound, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Call the network once more on what the attack returns: (which images are wrong, the adversarial images)."""
        images, labels = self.images[rows], self.labels[rows]
        adversarial = attack(self.model, images, labels).detach()
        check(images, adversarial, eps=bound.radius, norm=bound.norm)
        with torch.no_grad():
            return ~correct(self.model(adversarial), labels), adversarial

    def _unit(self, key: str, work: Callable[[], Record]) -> Record:
        """The result of one unit of work with its cost, from the cache if it is there."""
        if self.model.gradient_draws != self.model.draws:
            key += f" {self.model.gradient_draws} draws"

        def computed() -> Record:
            self.computed.add(self.task.done)
            return work()

        self.worked.add(self.task.done)
        record = unit(self.model, self.cache, self.config.seed, key, computed)
        self.cost.add(cost_of(record))
        return record


def unit(model: InstrumentedModel, cache: Units, seed: int, key: str, work: Callable[[], Record]) -> Record:
    """The result of one unit of work, which draws from a seed of its own, with its cost; from the cache if there."""
    record = cache.get(key)
    if record is None:
        with model.measured(seed_of(seed, key)) as cost:
            result = work()
        record = {**result, **{name: np.asarray(value) for name, value in vars(cost).items()}}
        cache[key] = record
    return record


def cost_of(record: Record) -> Cost:
    """What a unit of work cost."""
    return Cost(**{name: record[name].item() for name in vars(Cost())})


def longer_search(searches: Sequence[tuple[int, int, int]]) -> Longer | None:
    """Extrapolate from the last half of a search, which found what it did while the search doubled.

    Where images fall at very different rates, each doubling of a search breaks as many as the doubling before or fewer.
    So the images that the last half of the gradients broke are what the next doubling is expected to break at most; the
    error is that of a Poisson count. Gradients are per image that stood when they were computed.

    Args:
        searches: in order, (images attacked, gradients that this took, images that this broke).

    Returns:
        None without a gradient.

    >>> longer_search([(50, 1000, 9), (40, 4000, 5), (35, 3500, 1), (34, 3400, 2)])
    Longer(factor=2.67, expected=3, high=9, gradients=320.0)
    """
    from scipy.stats import chi2  # here, because its import takes longer than most commands

    lengths = [gradients / images for images, gradients, _ in searches]
    total, last, broken = sum(lengths), 0.0, 0
    if not total:
        return None
    for length, (_, _, fallen) in zip(reversed(lengths), reversed(searches), strict=True):
        last, broken = last + length, broken + fallen
        if last >= total / 2:
            break
    # A first attack that took more than half of all has nothing before it: then the search doubles.
    factor = total / (total - last) if last < total else 2.0
    high = math.ceil(chi2.ppf(0.975, 2 * (broken + 1)) / 2)
    return Longer(factor=round(factor, 2), expected=broken, high=high, gradients=round(total, 1))


class PgdTrace(NamedTuple):
    """Steps of PGD on B images; the first iterate is the image itself."""

    loss: Float[Tensor, "iterate batch"]
    margin: Float[Tensor, " batch"]  # largest margin loss over the iterates, above 0 if one was misclassified
    wrong: Bool[Tensor, "iterate batch"]  # whether each iterate is misclassified
    gradient: Float[Tensor, "batch ..."]  # at the image
    last: Float[Tensor, "batch ..."]  # the last iterate


def trace_pgd(
    model: Model,
    images: Tensor,
    labels: Int64[Tensor, " batch"],
    ball: Ball,
    *,
    iterations: int,
    loss: str,
    step: Step | None = None,
) -> PgdTrace:
    """Run PGD from the images, by default with steps of eps / 4; no image leaves the batch."""
    step = step or fixed_step(ball.eps / 4, ball)
    adversarial, looks = images, []
    for iteration in range(iterations + 1):
        looks.append(look := loss_gradient(model, adversarial, labels, LOSSES[loss]))
        if iteration < iterations:
            adversarial = step(images, adversarial, look)
    margins = torch.stack([margin(look.logits, labels).nan_to_num(torch.inf) for look in looks])
    wrong = torch.stack([~correct(look.logits, labels) for look in looks])
    losses = torch.stack([look.loss for look in looks])
    return PgdTrace(losses, margins.amax(0), wrong, looks[0].gradient, adversarial.detach())


def rising(losses: Float[Tensor, "iterate batch"]) -> Bool[Tensor, " batch"]:
    """Whether the best loss rose by more than `RISE` of its range in the last steps (I4)."""
    best = losses.cummax(0).values
    steps = len(best) - 1
    late = best[-1] - best[steps - min(LAST, steps // 2)]
    return (late > RISE * (best[-1] - losses.amin(0))) & (late > 0)


@torch.no_grad()
def instability(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], directions: int = DIRECTIONS
) -> Float[Tensor, " batch"]:
    """Mean relative change of the cross-entropy over random directions, at most 1 for each (Pintor I2)."""
    entropy = LOSSES["cross-entropy"]
    here = entropy(model(images).float(), labels)
    changes = torch.zeros_like(here)
    for _ in range(directions):
        there = entropy(model(perturbed(images, uniform(images, RADIUS, None))).float(), labels)
        changes += ((there - here).abs() / here.abs().clamp(min=1e-12)).clamp(max=1).nan_to_num(1)
    return changes / directions


def screen_rule(
    model: InstrumentedModel, rule: str, images: Tensor, labels: Tensor, bound: Bound, iterations: int, directions: int
) -> Record:
    """Attack the images under one rule alone.

    Returns one value per image: whether it was broken by one step ("fgsm"), by PGD on the cross-entropy ("entropy"), on
    the margin loss ("margin"), at `WIDER` times the bound ("wider") and without one ("unbounded"); the largest margin
    loss over the first two ("reached"); whether the gradient is exactly zero ("zero"), and on which share of the pixels
    ("zero_pixels"); `instability` ("unstable"); whether an iterate succeeded although the last one fails ("silent",
    I3); whether nothing succeeded although the loss was still `rising` (I4).
    """
    with model.under(rule):
        single = fgsm(model, images, labels, eps=bound.radius, norm=bound.norm)
    with torch.no_grad():
        one_step = ~correct(model(single), labels)

    def run(reach: Bound, steps: int, loss: str) -> PgdTrace:
        with model.under(rule):  # a rule with statistics starts each run afresh
            ball = Ball(reach.radius, reach.norm)
            return trace_pgd(model, images, labels, ball, iterations=steps, loss=loss)

    entropy, margins = (run(bound, iterations, loss) for loss in ("cross-entropy", "margin"))
    broken, zero = entropy.wrong.any(0), entropy.gradient.flatten(1) == 0
    arrays = {
        "fgsm": one_step,
        "entropy": broken,
        "margin": margins.wrong.any(0),
        # Margins of different rules are compared, so all are in units of the network's logits.
        "reached": torch.maximum(entropy.margin, margins.margin) * (model.own_scale if rule == OWN else model.scale),
        "wider": run(replace(bound, eps=WIDER * bound.radius), iterations, "margin").wrong.any(0),
        "unbounded": run(UNBOUNDED, iterations // 2, "margin").wrong.any(0),
        "zero": zero.all(1),
        "zero_pixels": zero.float().mean(1),
        "unstable": instability(model, entropy.last, labels, directions),
        "silent": broken & ~entropy.wrong[-1],
        "rising": ~broken & rising(entropy.loss),
    }
    return {name: values.cpu().numpy() for name, values in arrays.items()}


def select_rules(screened: Mapping[str, Record], most: int | None) -> tuple[list[str], list[str]]:
    """(selected, dropped): rules by the number of images on which they reach the largest margin.

    On a tie the first rule wins, so a rule that acts like the network's own is not selected beside it. At most `most`
    rules that win an image are selected; with None all, also those that win none.
    """
    winners = np.stack([screening["reached"] for screening in screened.values()]).argmax(0)
    wins = {rule: int((winners == row).sum()) for row, rule in enumerate(screened)}
    names = sorted(wins, key=lambda rule: -wins[rule])
    winning = sum(1 for count in wins.values() if count) or 1
    count = len(names) if most is None else min(winning, most)
    return names[:count], names[count:]


def screening_bound(bounds: Sequence[Bound], standing: Mapping[Bound, int], sample: int, headline: Bound) -> Bound:
    """The bound up to the headline where PGD leaves closest to half of the sample, on a tie (masking) the largest."""
    candidates = [bound for bound in bounds if 0 < bound.eps <= headline.eps]
    return min(candidates, key=lambda bound: (abs(2 * standing[bound] - sample), -bound.eps))
