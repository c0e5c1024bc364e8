"""Threat models on grids of events, and the gate that counts every budget again from the grid that an attack made.

A grid [B, T, P, H, W] has T time bins and P polarities; its cells are 0 or 1 (binary) or counts (integer). An attack
looks for the smallest budget per sample that makes the network wrong, so that one run gives accuracy over all budgets.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.gate import Model, canonical_names, frozen, options_of, read_option, with_gradients
from hiresnn.attacks.losses import expected_logits
from hiresnn.calls import format_value, read_call
from hiresnn.checks import correct, require_batch, require_classes
from hiresnn.errors import AttackError, UsageError, closest, quoted

Grids = Float[Tensor, "batch time polarity height width"]
Cells = Float[Tensor, "batch cell"]
"""Grids with all but the batch flattened."""
Budgets = Int64[Tensor, " batch"]
ROWS = 512
"""Grids in one forward pass of an attack."""


class Moves(NamedTuple):
    """Changes of single events, [B, K] each, of which every subset may be made: `cell` += delta, `target` += back."""

    cell: Int64[Tensor, "batch move"]
    target: Int64[Tensor, "batch move"]
    delta: Float[Tensor, "batch move"]
    back: Float[Tensor, "batch move"]
    cost: Int64[Tensor, "batch move"]
    gain: Float[Tensor, "batch move"]  # expected rise of the loss per unit of the budget, -inf where not allowed
    room: Int64[Tensor, "batch move"]  # how often the move can be repeated

    def at(self, index: Tensor) -> "Moves":
        """Return the moves at positions [B, k]."""
        return Moves(*(part.gather(1, index) for part in self))

    def rows(self, rows: Tensor) -> "Moves":
        """Return the moves of some samples."""
        return Moves(*(part[rows] for part in self))

    def best(self, count: int, *, repeated: bool = False) -> "Moves":
        """Return the `count` moves with the largest gain, in falling order, perhaps `repeated` where there is room."""
        order = self.gain.argsort(dim=1, descending=True, stable=True)
        ends = (self.room if repeated else self.room.clamp(max=1)).gather(1, order).cumsum(1)
        wanted = torch.arange(count, device=order.device).expand(len(order), -1).contiguous()
        position = torch.searchsorted(ends, wanted, right=True).clamp(max=order.shape[1] - 1)
        chosen = self.at(order.gather(1, position))
        return chosen._replace(gain=chosen.gain.masked_fill(wanted >= ends[:, -1:], -torch.inf))

    def made(self, cells: Cells, kept: Tensor | None = None) -> Cells:
        """Return `cells` after the moves that are allowed and, with `kept` [B, K], kept."""
        use = self.gain > -torch.inf
        use = use if kept is None else use & kept
        changed = cells.scatter_add(1, self.cell, self.delta * use)
        return changed.scatter_add(1, self.target, self.back * use)


class Threat(ABC):
    """What an attacker may do to a grid, and what it costs."""

    grid: Literal["binary", "integer"]

    @abstractmethod
    def count(self, grids: Grids, adversarial: Grids) -> Budgets:
        """Return the budget that each sample of `adversarial` spends, counted exactly from the two arrays.

        Raises:
            AttackError: a sample is none that this attacker can make, whatever the budget.
        """

    @abstractmethod
    def moves(self, grids: Grids, cells: Cells, slope: Cells) -> Moves:
        """Return the moves that are allowed after those in `cells`, with their gain along the gradient `slope`."""

    def random_moves(self, grids: Grids, cells: Cells, generator: torch.Generator | None) -> Moves:
        """Return the same moves in random order."""
        return self.moves(grids, cells, torch.randn(cells.shape, generator=generator).to(cells))

    def stages(self, bins: int) -> "Sequence[tuple[int | None, Threat]]":
        """Return the threats to be tried in turn, with the budget of each; None where an attack looks for it itself."""
        return [(None, self)]

    @abstractmethod
    def words(self, budget: int) -> str:
        """Return a budget in words, such as "10 events added or deleted"."""

    def __str__(self) -> str:
        options = ", ".join(f"{name}={format_value(value)}" for name, value in vars(self).items())
        return f"{type(self).__name__.lower()}({options})"


@dataclass(frozen=True)
class Flips(Threat):
    """Events are added or deleted (L0); the budget is the number of events, or of cells.

    Args:
        direction: "add" only, "delete" only, or "both".
        grid: "binary" cells hold one event at most, "integer" cells up to `ceiling`.
        cell: budget of an integer cell: "event" counts each event added or deleted, "packet" counts a changed cell as
            one, whatever its count becomes.
        ceiling: largest count to which an integer cell may rise; 0 means the largest count of the sample.
    """

    direction: Literal["both", "add", "delete"] = "both"
    grid: Literal["binary", "integer"] = "binary"
    cell: Literal["event", "packet"] = "event"
    ceiling: int = 0

    def words(self, budget: int) -> str:
        did = {"both": "added or deleted", "add": "added", "delete": "deleted"}[self.direction]
        return f"{budget} cells changed" if self.cell == "packet" else f"{budget} events {did}"

    def _ceiling(self, grids: Tensor) -> Tensor:
        if self.grid == "binary" or self.ceiling:
            return grids.new_full((len(grids), 1), 1 if self.grid == "binary" else self.ceiling)
        return grids.flatten(1).amax(1, keepdim=True).clamp(min=1)

    def count(self, grids: Grids, adversarial: Grids) -> Budgets:
        before, after = grids.flatten(1).double(), adversarial.flatten(1).double()
        change = after - before
        _refuse(change > 0, "added an event", "only deletes", self.direction == "delete")
        _refuse(change < 0, "deleted an event", "only adds", self.direction == "add")
        high = (change > 0) & (after > self._ceiling(before))
        _refuse(high, "filled a cell above its ceiling", "has a largest count")
        return (change.abs() if self.cell == "event" else (change != 0).double()).sum(1).long()

    def moves(self, grids: Grids, cells: Cells, slope: Cells) -> Moves:
        before, whole = grids.flatten(1), self.cell == "packet"  # goes to its ceiling or to 0 at once, and stays there
        up, down = (self._ceiling(grids) - cells).clamp(min=0), cells
        up = up * ((cells == before) if whole else (cells >= before)) * (self.direction != "delete")
        down = down * ((cells == before) if whole else (cells <= before)) * (self.direction != "add")
        added = (slope * (up if whole else 1)).masked_fill(up == 0, -torch.inf)
        deleted = (-slope * (down if whole else 1)).masked_fill(down == 0, -torch.inf)
        adds = added >= deleted
        gain, size = torch.where(adds, added, deleted), torch.where(adds, up, down)
        sign, one = torch.where(adds, 1.0, -1.0).to(cells), torch.ones_like(size).long()
        cell = torch.arange(cells.shape[1], device=cells.device).expand_as(cells)
        room = (size > 0 if whole else size).long()
        return Moves(cell, cell, sign * size if whole else sign, torch.zeros_like(sign), one, gain, room)


@dataclass(frozen=True)
class Retiming(Threat):
    """Events keep their pixel, polarity and number and move in time.

    Args:
        budget: "moved" counts the events that move, "sum" adds up their shifts in bins, "largest" is the largest shift
            of any event. Each is that of the cheapest transport between the two grids.
        grid: a cell of a "binary" grid holds one event at most.
        within: largest shift of any event in bins, besides the budget; 0 means no limit.
    """

    budget: Literal["moved", "sum", "largest"] = "moved"
    grid: Literal["binary", "integer"] = "binary"
    within: int = 0

    def words(self, budget: int) -> str:
        what = {"moved": f"{budget} events", "sum": f"events by {budget} bins in all", "largest": "events"}
        limit = self.within or (budget if self.budget == "largest" else 0)
        return f"{what[self.budget]} moved in time" + (f", each by at most {limit} bins" if limit else "")

    def count(self, grids: Grids, adversarial: Grids) -> Budgets:
        # The time course of every pixel and polarity: [B, line, T].
        before, after = (part.flatten(2).transpose(1, 2).long().cpu().numpy() for part in (grids, adversarial))
        spent = np.zeros(len(before), np.int64)
        for sample, line in zip(*(before != after).any(2).nonzero(), strict=True):
            pair = before[sample, line], after[sample, line]
            if pair[0].sum() != pair[1].sum():
                raise AttackError(
                    f"sample {sample}: the attack left {pair[1].sum()} events of {pair[0].sum()} at a pixel; retiming "
                    "keeps the number of events of every pixel and polarity."
                )
            cost = transport(*pair, self.budget, self.within)
            if cost is None:
                raise AttackError(
                    f"sample {sample}: an event moved by more than {self.within} bins, the limit of within."
                )
            spent[sample] = max(spent[sample], cost) if self.budget == "largest" else spent[sample] + cost
        return torch.from_numpy(spent).to(grids.device)

    def moves(self, grids: Grids, cells: Cells, slope: Cells) -> Moves:
        steep = slope.view_as(grids).flatten(2)
        return self.pairs(grids, cells, steep[:, None] - steep[:, :, None])

    def pairs(self, grids: Grids, cells: Cells, gains: Float[Tensor, "batch source target line"]) -> Moves:
        """Return the best move of every event along `gains`, from a bin to a bin of the same pixel and polarity."""
        before, now = grids.flatten(2), cells.view_as(grids).flatten(2)  # [B, T, line]
        bins, lines = before.shape[1:]
        times = torch.arange(bins, device=cells.device)
        shift = (times[None] - times[:, None]).abs()
        near = (shift > 0) & ((shift <= self.within) | (not self.within))
        source, target = (now > 0) & (now <= before), now >= before
        if self.grid == "binary":
            target = target & (now == 0)
        allowed = near[None, :, :, None] & source[:, :, None] & target[:, None]
        cost = shift.clamp(min=1) if self.budget == "sum" else torch.ones_like(shift)
        gain, to = (gains / cost[None, :, :, None]).masked_fill(~allowed, -torch.inf).max(2)
        if self.grid == "binary":
            # Any subset of the moves must be possible, so only one event may move to an empty cell: that with the
            # largest gain, of equal ones the first.
            most = torch.full_like(gain, -torch.inf).scatter_reduce(1, to, gain, "amax").gather(1, to)
            rivals = torch.where(gain == most, times[:, None], bins)
            first = torch.full_like(to, bins).scatter_reduce(1, to, rivals, "amin").gather(1, to)
            gain = torch.where(first == times[:, None], gain, -torch.inf)
        line = torch.arange(lines, device=cells.device)
        cell, there = times[:, None] * lines + line, to * lines + line
        one, room = torch.ones_like(now), (gain > -torch.inf).long()
        parts = (cell.expand_as(there), there, -one, one, cost[times[:, None], to], gain, room)
        return Moves(*(part.flatten(1) for part in parts))

    def random_moves(self, grids: Grids, cells: Cells, generator: torch.Generator | None) -> Moves:
        bins = grids.shape[1]
        draws = torch.rand(len(grids), bins, bins, cells.shape[1] // bins, generator=generator)
        return self.pairs(grids, cells, draws.to(cells))

    def stages(self, bins: int) -> "Sequence[tuple[int | None, Threat]]":
        if self.budget != "largest":
            return [(None, self)]
        last = min(self.within or bins - 1, bins - 1)
        return [(shift, replace(self, budget="moved", within=shift)) for shift in range(1, last + 1)]


def transport(
    before: Int64[np.ndarray, " time"],
    after: Int64[np.ndarray, " time"],
    budget: Literal["moved", "sum", "largest"] = "moved",
    within: int = 0,
) -> int | None:
    """Return the smallest budget that moves the events of one pixel so that the counts `before` become `after`.

    On a line, moving the events in order makes both the sum of shifts and the largest shift minimal. The number of
    events that move needs an assignment where the shift is limited: an event that stays may force another one to jump
    over it. None if no event may move by more than `within` bins (0: no limit) and that does not suffice.
    """
    sources, targets = (np.repeat(np.arange(len(counts)), counts) for counts in (before, after))
    shifts = np.abs(sources - targets)
    if within and shifts.max(initial=0) > within:
        return None
    if budget == "largest":
        return int(shifts.max(initial=0))
    if budget == "sum":
        return int(shifts.sum())
    if not within:
        return int(np.maximum(before - after, 0).sum())
    from scipy.optimize import linear_sum_assignment  # here, because every command would wait for its import

    distance = np.abs(sources[:, None] - targets)
    costs = np.where(distance > within, len(sources) + 1, distance > 0)
    return int(costs[linear_sum_assignment(costs)].sum())


def _refuse(bad: Tensor, did: str, may: str, applies: bool = True) -> None:
    if applies and bool(bad.any()):
        raise AttackError(f"sample {int(bad.any(1).nonzero()[0])}: the attack {did}, but its threat model {may}.")


class Found(NamedTuple):
    """What an attack on events found: per sample the grid with the smallest budget that the network misclassifies.

    Where nothing was found the grid is the sample itself and the budget infinite; a sample that is misclassified from
    the start has the budget 0.
    """

    grids: Grids
    budgets: Float[Tensor, " batch"]


EventAttack = Callable[..., Found]
"""(network, grids, labels, *, threat, budget, ...) -> Found."""


def require_grids(grids: Tensor, labels: Tensor, grid: Literal["binary", "integer"] = "integer") -> None:
    """Raise UsageError unless grids are floats [B, T, P, H, W], 0 or 1 or else counts, and labels whole numbers [B]."""
    require_batch(grids, labels)
    if problem := _grid_problem(grids, grid):
        raise UsageError(f"grids of events {problem}; bin them as {grid}, or name the other kind in the threat model.")


def _grid_problem(grids: Tensor, grid: str) -> str:
    if grids.dim() != 5:
        return f"have the shape {list(grids.shape)}, not [B, T, P, H, W]"
    if not bool(torch.isfinite(grids).all()) or bool((grids != grids.round()).any() | (grids < 0).any()):
        return "hold values that are no counts of events"
    return "hold more than one event in a cell" if grid == "binary" and bool((grids > 1).any()) else ""


def recount(threat: Threat, grids: Grids, adversarial: Tensor, claimed: Tensor, budget: int) -> Budgets:
    """Count what `adversarial` spends; AttackError if that is more than claimed, more than `budget`, or impossible."""
    if adversarial.shape != grids.shape:
        raise AttackError(f"the attack returned shape {tuple(adversarial.shape)} for grids {tuple(grids.shape)}.")
    if problem := _grid_problem(adversarial, threat.grid):
        raise AttackError(f"the attack returned grids that {problem}.")
    spent = threat.count(grids, adversarial)
    allowed = claimed.clamp(max=budget)
    if len(spent) and bool((spent > allowed).any()):
        sample = int((spent > allowed).nonzero()[0])
        raise AttackError(
            f"sample {sample}: the attack spent {int(spent[sample])} of the budget of {threat}, but claims "
            f"{claimed[sample]:g} and may spend {budget}."
        )
    return spent


def checked_events(name: str) -> Callable[[Callable[..., Found]], EventAttack]:
    """Decorate the attack of that name: options and grids are checked before it runs, and the gate stands behind it.

    The gate counts the budget of every sample again from the grid that came back, asks the network once more, and
    reports that count, never what the attack says. The network is frozen meanwhile.
    """

    def decorate(attack: Callable[..., Found]) -> EventAttack:
        @with_gradients
        @wraps(attack)
        def guarded(
            model: Model, grids: Tensor, labels: Tensor, *, threat: Threat | None = None, **given: Any
        ) -> Found:
            threat = threat or Flips()
            require_grids(grids, labels, threat.grid)
            options, labels = canonical_names(name, given, known), labels.long()
            if unknown := sorted(options.keys() - known.keys() - {"generator"}):
                raise UsageError(f"{name}: there is no option {unknown[0]!r}; {closest(unknown[0], known)}.")
            for key in known.keys() & options.keys():
                options[key] = read_option(name, key, options[key], known[key])
            budget = int(options.get("budget", known["budget"].default) or 0)
            if not len(grids):
                return Found(grids.clone(), grids.new_zeros(0))
            with frozen(model):
                logits = expected_logits(model, grids)
                require_classes(labels, logits.shape[1], name)
                result = Found(grids.detach().clone(), torch.where(correct(logits, labels), torch.inf, 0.0))
                for limit, stage in threat.stages(grids.shape[1]):
                    rows = result.budgets.isinf().nonzero()[:, 0]
                    if not len(rows) or (limit or 0) > budget:
                        break
                    if limit is not None:  # the budget is that of the stage, which itself has none
                        options["budget"] = grids[0].numel()
                    found = attack(model, grids[rows].clone(), labels[rows], threat=stage, **options)
                    claimed = torch.where(found.budgets.isinf(), 0, found.budgets if limit is None else float(limit))
                    spent = recount(threat, grids[rows], found.grids.detach(), claimed, budget)
                    wrong = ~correct(expected_logits(model, found.grids), labels[rows])
                    broken = rows[wrong]
                    result.grids[broken] = found.grids.detach()[wrong]
                    result.budgets[broken] = spent[wrong].to(result.budgets)
            return result

        known = options_of(attack)
        guarded.__signature__ = inspect.signature(attack)  # type: ignore[attr-defined]
        return guarded

    return decorate


THREATS: dict[str, type[Flips | Retiming]] = {"flips": Flips, "retiming": Retiming}


def parse_threat(text: str, grid: Literal["binary", "integer"] = "binary") -> Threat:
    """Read a threat model from its text, such as `flips(direction=add)` or `retiming(budget=sum, within=3)`."""
    call = read_call(text, "threat")
    if call.name not in THREATS:
        raise UsageError(f"threat model {quoted(call.name)} is not known; {closest(call.name, THREATS)}.")
    known = options_of(THREATS[call.name])
    call.require(known, f"threat model {quoted(text)}")
    options: dict[str, Any] = {"grid": grid, **call.options}
    options = {name: read_option(text, name, value, known[name]) for name, value in options.items()}
    return THREATS[call.name](**options)
