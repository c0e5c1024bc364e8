"""The audit itself: the paper's protocol, then waves of scouting and attacks over all bounds, worst case per sample.

Work is cut into pieces, one attack at one bound on one batch. A piece is named by what it is and draws from a seed of
its own, so that what `kept` already holds is not done again: an interrupted audit goes on, and a larger preset
continues a smaller one. Bounds go from small to large, and an image that fell at one is not shown at a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.attacks import Attack, check, frozen
from hiresnn.audit import presets
from hiresnn.audit.bounds import Bound
from hiresnn.audit.climb import DIRECTIONS
from hiresnn.audit.ledger import Ledger
from hiresnn.audit.plan import Findings, Plan
from hiresnn.audit.presets import PROTOCOL, Kept, Wave
from hiresnn.audit.scouting import Record, Scouted, choose, read, scout, scouting_bound
from hiresnn.audit.subject import OWN, Audited, Spent, digest_of, seed_of
from hiresnn.audit.trial import Trial, stepped, trial
from hiresnn.errors import UsageError
from hiresnn.metrics import correct
from hiresnn.progress import Progress

TRANSFERRED = "pgd-restarts:iterations=20,restarts=1,loss=margin"
"""The attack whose images are made on a twin."""
BLIND = ("noise:kind=uniform,draws=100", "noise:kind=sign,draws=100")
"""Beside Square and the twins, what needs no gradient and is tried on the scouted images."""


class Audit:
    """One audit of one network on some images; `run` does it all.

    Args:
        model: counted and, where random, averaged.
        images, labels: in [0, 1], in an order of which a smaller audit sees the beginning.
        kept: piece -> its record; what is there is believed.
    """

    def __init__(
        self,
        model: Audited,
        images: Tensor,
        labels: Tensor,
        plan: Plan,
        kept: MutableMapping[str, Record],
        progress: Progress,
    ) -> None:
        self.model, self.images, self.labels, self.plan, self.kept = model, images, labels, plan, kept
        self.progress = progress
        self.spent = Spent()
        self.trials: dict[str, Trial] = {}
        self.adversarial: dict[int, Tensor] = {}
        self.later = 0
        size = max(1, plan.batch_size // model.draws)
        self.batches = [(at, min(at + size, len(images))) for at in range(0, len(images), size)]

    def run(self) -> Findings:
        """Everything, in order; what an earlier run has done is read instead."""
        plan = self.plan
        last = [trial(TRANSFERRED, twin=pair) for pair in plan.twins.items()]
        last += [replace(stepped(text, plan.headline), label=f"{text} (added)") for text in dict.fromkeys(plan.extra)]
        with frozen(self.model), self.progress.task("audit", 1, "passes") as self.task:
            self.ledger = Ledger(self._clean(), plan.bounds)
            if not self.ledger.count(plan.bounds[0]):
                raise UsageError(
                    f"the network classifies none of {len(self.labels)} images correctly, so there is nothing to "
                    "attack; check that the images are in [0, 1] and the classes in the network's order."
                )
            alone = {text: self._alone(text) for text in PROTOCOL}
            scouted: list[Scouted] = []
            blind: dict[str, NDArray[np.bool_]] = {}
            at, chosen, dropped = plan.headline, [OWN], list[str]()
            for number, wave in enumerate(plan.waves):
                self.later = self._later(plan.waves[number + 1 :])
                sample = (self.ledger.level > 0).nonzero()[: wave.sample, 0]
                at = self._scouting_bound(sample, alone["pgd"])
                scouted, blind = self._scouting(number, wave, sample, at)
                chosen, dropped = choose(scouted, wave.most, wave.prune)
                self._sweep(self._trials(wave, chosen))
            self._sweep(last)
        return Findings(
            self.ledger, self.trials, alone, scouted, blind, at, chosen, dropped, self.adversarial, self.spent
        )

    def _trials(self, wave: Wave, rules: Sequence[str]) -> list[Trial]:
        """The attacks of a wave with these rules kept."""
        takes = frozenset(rule for rule in wave.rules if self.model.takes(rule))
        texts = presets.attacks(wave, Kept(tuple(rules), takes, self.model.classes))
        return [trial(text, first=dict(wave.first).get(text)) for text in texts]

    def _clean(self) -> Tensor:
        def look(start: int, stop: int) -> Record:
            with torch.no_grad():
                right = correct(self.model(self.images[start:stop]), self.labels[start:stop])
            return {"broken": (~right).cpu().numpy()}

        records = [self._piece(f"clean {a}-{b}", partial(look, a, b)) for a, b in self.batches]
        return torch.cat([torch.from_numpy(record["broken"]) for record in records])

    def _alone(self, text: str) -> dict[str, Tensor]:
        """One attack of the protocol with the own gradient as it is, on every image at every bound."""
        made = replace(stepped(text, self.plan.headline, **self.plan.paper), plain=True)
        wrong = self.ledger.level == 0
        found = {self.plan.bounds[0].label: wrong}
        before = wrong
        for place, bound in enumerate(self.plan.bounds[1:], 1):
            self._expect(made.passes * len(self.labels) * (len(self.plan.bounds) - place))
            broken = []
            for start, stop in self.batches:
                rows = (~before[start:stop]).nonzero()[:, 0] + start
                broken.append(self._attacked("alone", made, bound, rows, start, stop))
            now = before.clone()
            now[torch.cat(broken)] = True
            found[bound.label] = now
            if made.spec.name == "noise":  # draws within a small bound are draws within every larger one
                before = now
        return found

    def _scouting_bound(self, sample: Tensor, broken: Mapping[str, Tensor]) -> Bound:
        standing = {bound: int((~broken[bound.label][sample]).sum()) for bound in self.plan.bounds}
        return scouting_bound(self.plan.bounds, standing, len(sample), self.plan.headline)

    def _scouting(
        self, number: int, wave: Wave, sample: Tensor, bound: Bound
    ) -> tuple[list[Scouted], dict[str, NDArray[np.bool_]]]:
        images, labels = self.images[sample], self.labels[sample]
        where = f"scout {number} {bound.label} {len(sample)}"
        found, blind = [], {}
        rules = [rule for rule in wave.rules if self.model.takes(rule)]
        for place, rule in enumerate(rules):
            self._expect((len(rules) - place) * _scouting_passes(wave) * len(sample) + self._sweeping([wave]))
            self.task.advance(0, f"scouting {rule} at {bound.label}")
            work = partial(scout, self.model, rule, images, labels, bound, wave.iterations)
            found.append(read(rule, self._piece(f"{where} {rule}", work)))
        trials = [trial(text) for text in (f"square:queries={wave.queries}", *BLIND)]
        trials += [trial(TRANSFERRED, twin=pair) for pair in self.plan.twins.items()]
        for each in trials:
            self.task.advance(0, f"scouting {each.label} at {bound.label}")
            work = partial(self._shown, each.at(bound), bound, images, labels)
            blind[each.label] = self._piece(f"{where} {each.label}", work)["broken"]
        return found, blind

    def _shown(self, attack: Attack, bound: Bound, images: Tensor, labels: Tensor) -> Record:
        return {"broken": self._broken(attack, bound, images, labels)[0].cpu().numpy()}

    def _sweep(self, trials: Sequence[Trial]) -> None:
        """Every attack at every bound, on what still stands."""
        for place, bound in enumerate(self.plan.bounds[1:], 1):
            for index, each in enumerate(trials):
                self._expect(self._left(trials, place, index))
                for start, stop in self.batches:
                    stop = stop if each.first is None else min(stop, each.first)
                    if start < stop:
                        self._attacked("wave", each, bound, self.ledger.standing(bound, start, stop), start, stop)
                        stand = f"{self.ledger.count(bound)} of {len(self.images)} stand"
                        self.task.advance(0, f"{each.label} at {bound.label}: {stand}")

    def _left(self, trials: Sequence[Trial], place: int, index: int) -> int:
        """Passes at most until this sweep ends, were nothing more to break."""
        left = 0
        for later, bound in enumerate(self.plan.bounds[place:]):
            for each in trials[0 if later else index :]:
                left += each.passes * len(self.ledger.standing(bound, 0, each.first))
        return left

    def _sweeping(self, waves: Sequence[Wave]) -> int:
        """Passes of the sweeps of waves whose rules are not yet chosen."""
        left = 0
        for wave in waves:
            rules = [rule for rule in wave.rules if self.model.takes(rule)]
            left += self._left(self._trials(wave, rules[: wave.most]), 1, 0)
        return left

    def _later(self, waves: Sequence[Wave]) -> int:
        """Passes of whole waves to come."""
        scouting = sum(len(wave.rules) * _scouting_passes(wave) * wave.sample for wave in waves)
        return scouting + self._sweeping(waves)

    def _expect(self, left: int) -> None:
        self.task.expect((left + self.later) * self.model.draws)

    def _attacked(self, phase: str, made: Trial, bound: Bound, rows: Tensor, start: int, stop: int) -> Tensor:
        """Images of `rows` that the attack breaks, entered into the ledger with their adversarial twins."""

        def look() -> Record:
            if not len(rows):
                return {"broken": np.zeros(0, np.int64), "images": np.zeros((0, *self.images.shape[1:]), np.float32)}
            broken, adversarial = self._broken(made.at(bound), bound, self.images[rows], self.labels[rows])
            return {"broken": rows[broken.cpu()].numpy(), "images": adversarial[broken].cpu().numpy()}

        # What stands depends on what ran before, so a piece is named by its images too.
        key = f"{phase} {made.label} at {bound.label} {digest_of(rows)} {start}-{stop}"
        record = self._piece(key, look, keep=bool(len(rows)))  # a piece of nothing is not worth a file
        broken = torch.from_numpy(record["broken"])
        for image, adversarial in zip(broken.tolist(), torch.from_numpy(record["images"]), strict=True):
            if self.ledger.level[image] > self.plan.bounds.index(bound):
                self.adversarial[image] = adversarial
        self.trials.setdefault(made.label, made)
        cost = {name: record[name].item() for name in ("forward", "backward", "seconds")}
        self.ledger.add(made.label, bound, broken, shown=len(rows), **cost)
        return broken

    def _broken(self, attack: Attack, bound: Bound, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Which images are misclassified when what the attack returns is shown once more, and that."""
        adversarial = attack(self.model, images, labels).detach()
        check(images, adversarial, eps=bound.radius)
        with torch.no_grad():
            return ~correct(self.model(adversarial), labels), adversarial

    def _piece(self, key: str, work: Callable[[], Record], *, keep: bool = True) -> Record:
        """The record of a piece of work with what it cost, done now unless `kept` has it."""
        record = self.kept.get(key)
        if record is None:
            with self.model.measured(seed_of(self.plan.seed, key)) as spent:
                found = work()
            record = {**found, **{name: np.asarray(value) for name, value in vars(spent).items()}}
            if keep:
                self.kept[key] = record
            else:
                record["seconds"] = np.zeros(())
            self.task.advance(spent.forward + spent.backward)
        self.spent.forward += int(record["forward"])
        self.spent.backward += int(record["backward"])
        self.spent.seconds += float(record["seconds"])
        return record


def _scouting_passes(wave: Wave) -> int:
    """Passes on an image while one rule is scouted."""
    return 6 * wave.iterations + DIRECTIONS
