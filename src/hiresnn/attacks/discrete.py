"""Attacks that move single events: along the gradient, guided by it and confirmed, without a gradient, and at random.

They work under every threat model of events.py that says which moves are allowed, and look for the smallest budget at
which each sample is misclassified. Where logits are sums over time, their mean is taken.
"""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool
from torch import Tensor

from hiresnn.attacks.events import ROWS, Cells, Found, Grids, Moves, Threat, checked_events
from hiresnn.attacks.gate import Labels, Model
from hiresnn.attacks.losses import expected_logits, loss_gradient, margin, summed_steps
from hiresnn.checks import correct

Generator = torch.Generator | None
Proposal = Callable[[Tensor, Cells], Moves]
"""(rows of the batch, their cells) -> moves, the most promising ones first."""
LADDER = 1.25  # ratio of the budgets at which moves in a given order are tried, before the smallest is bisected


class Batch:
    """Samples under attack, and for each the smallest adversarial grid so far.

    Attributes:
        cells: the adversarial grids, flattened; at first the samples. budgets: what they spend, inf at first.
    """

    def __init__(self, model: Model, grids: Grids, labels: Labels, threat: Threat, budget: int) -> None:
        self.model, self.grids, self.labels, self.threat = model, grids, labels, threat
        self.clean, self.budget = grids.flatten(1), min(budget, grids[0].numel() * grids.shape[1] if len(grids) else 0)
        self.cells, self.budgets = self.clean.clone(), torch.full((len(grids),), torch.inf, device=grids.device)
        self.steps, self.aimed = summed_steps(model), labels[:0]  # of several targets, the present one of each sample
        self.all = torch.arange(len(grids), device=grids.device)
        self.effects = torch.full_like(self.clean, -torch.inf)  # rise of the loss that a move of each cell had alone

    def aims(self, targets: int) -> Iterator[None]:
        """Aim the loss at the margin over all classes, or with several `targets` at each of the next best in turn."""
        if targets == 1:
            yield
            return
        ranked = expected_logits(self.model, self.grids).scatter(1, self.labels[:, None], -torch.inf)
        order = ranked.argsort(1, descending=True)[:, : min(targets, ranked.shape[1] - 1)]
        for self.aimed in order.unbind(1):
            yield

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return how far the logits of some samples are on their way to another class, above 0 where they are there."""
        labels = self.labels[rows]
        if not len(self.aimed):
            return margin(logits, labels) / self.steps
        pair = torch.stack([labels, self.aimed[rows]], 1)
        return logits.gather(1, pair).diff(dim=1)[:, 0] / self.steps

    def slope(self, rows: Tensor, cells: Cells) -> Cells:
        """Return the gradient of the loss in the cells."""
        gradients = []
        for part, at in zip(torch.split(rows, ROWS), torch.split(cells, ROWS), strict=True):
            queried = at.view(-1, *self.grids.shape[1:])
            gradients.append(loss_gradient(self.model, queried, part, self.loss).gradient.flatten(1))
        return torch.cat(gradients)

    def query(
        self, rows: Tensor, cells: Cells, moves: Moves, kept: Bool[Tensor, "row trial move"]
    ) -> tuple[Tensor, Tensor]:
        """Make each of several choices of moves: (loss, whether the answer is wrong), [row, trial]."""
        count, trials, _ = kept.shape
        losses, wrong = [], []
        for pair in torch.split(torch.arange(count * trials, device=cells.device), ROWS):
            row = pair // trials
            made = moves.rows(row).made(cells[row], kept.flatten(0, 1)[pair])
            logits = expected_logits(self.model, made.view(-1, *self.grids.shape[1:]))
            losses.append(self.loss(logits, rows[row]).nan_to_num(torch.inf))
            wrong.append(~correct(logits, self.labels[rows[row]]))
        return torch.cat(losses).view(count, trials), torch.cat(wrong).view(count, trials)

    def record(self, rows: Tensor, cells: Cells, spent: Tensor) -> None:
        """Take adversarial grids for some rows where they spend less than those so far."""
        better = spent < self.budgets[rows]
        self.cells[rows[better]], self.budgets[rows[better]] = cells[better], spent[better].to(self.budgets)

    @property
    def found(self) -> Found:
        return Found(self.cells.view_as(self.grids), self.budgets)


class Path:
    """The moves that were made, in order: [B, capacity], of which each row has its own `length`."""

    def __init__(self, like: Moves, count: int, capacity: int) -> None:
        self.moves = Moves(*(part.new_zeros(count, capacity) for part in like))
        self.length = torch.zeros(count, dtype=torch.long, device=like.cell.device)

    def append(self, rows: Tensor, moves: Moves, kept: Tensor) -> None:
        """Add those of the `moves` of some rows that are kept."""
        row, move = kept.nonzero(as_tuple=True)
        position = (self.length[rows, None] + kept.cumsum(1) - 1)[row, move]
        for part, new in zip(self.moves, moves, strict=True):
            part[rows[row], position] = new[row, move]
        self.length[rows] += kept.sum(1)


def climb(batch: Batch, propose: Proposal, candidates: int) -> None:
    """Make confirmed moves until every sample is misclassified or its budget is spent, then take back needless ones.

    In every round the candidates are tried alone and ordered by the loss that they reach; then their first 1, 2, 4, ...
    are tried together. The group with the largest rise of the loss per root of its number is made. Where none raises
    the loss, the first candidates are made unconfirmed, in every such round twice as many, to leave the plateau.
    """
    device, path = batch.clean.device, None
    rows, cells = batch.all, batch.clean.clone()
    spent, stalls = torch.zeros(2, len(rows), dtype=torch.long, device=device)
    broken = torch.zeros_like(rows, dtype=torch.bool)
    loss = batch.loss(expected_logits(batch.model, batch.grids), rows)
    while len(rows):
        moves = propose(rows, cells[rows]).best(candidates)
        width = moves.cell.shape[1]
        path = path or Path(moves, len(broken), batch.budget)
        left = (batch.budget - spent)[rows, None]
        usable = (moves.gain > -torch.inf) & (moves.cost <= left)
        alone = torch.eye(width, dtype=torch.bool, device=device) & usable[:, None]
        reached = batch.query(rows, cells[rows], moves, alone)[0].masked_fill(~usable, -torch.inf)
        batch.effects[rows] = batch.effects[rows].scatter(1, moves.cell, reached - loss[rows, None])
        order = reached.argsort(dim=1, descending=True, stable=True)
        moves, usable = moves.at(order), usable.gather(1, order)
        usable &= (moves.cost * usable).cumsum(1) <= left
        sizes = 2 ** torch.arange(int(math.log2(width)) + 1, device=device)
        groups = (torch.arange(width, device=device) < sizes[:, None]) & usable[:, None]
        reached, wrong = batch.query(rows, cells[rows], moves, groups)
        rise = (reached - loss[rows, None]) / groups.sum(2).clamp(min=1) ** 0.5
        best = rise.argmax(1)
        stalled = rise.amax(1) <= 0
        stalls[rows] = torch.where(stalled, stalls[rows] + 1, 0)
        best = torch.where(stalled, (stalls[rows] - 1).clamp(min=0, max=len(sizes) - 1), best)
        best = torch.where(wrong.any(1), wrong.float().argmax(1), best)
        chosen = groups[torch.arange(len(rows), device=device), best]
        cells[rows], loss[rows] = moves.made(cells[rows], chosen), reached.gather(1, best[:, None])[:, 0]
        path.append(rows, moves, chosen)
        spent[rows] += (moves.cost * chosen).sum(1)
        broken[rows] = wrong.any(1)
        rows = rows[~wrong.any(1) & chosen.any(1)]
    if path is not None and bool(broken.any()):
        reduce(batch, broken.nonzero()[:, 0], path)


def reduce(batch: Batch, rows: Tensor, path: Path) -> None:
    """Take back moves that the misclassification does not need: half of them, a quarter, ..., and then one by one.

    The last moves are tried first. A pass of single moves that took any back is followed by another.
    """
    moves, length = path.moves.rows(rows), path.length[rows]
    column = torch.arange(moves.cell.shape[1], device=rows.device)
    kept = column < length[:, None]
    size, end, gone = (length + 1) // 2, length.clone(), torch.zeros_like(length)
    active = torch.arange(len(rows), device=rows.device)
    while len(active):
        start = (end - size).clamp(min=0)[active]
        block = (column >= start[:, None]) & (column < end[active, None]) & kept[active]
        trial = kept[active] & ~block
        wrong = batch.query(rows[active], batch.clean[rows[active]], moves.rows(active), trial[:, None])[1][:, 0]
        wrong &= block.any(1)
        kept[active] = torch.where(wrong[:, None], trial, kept[active])
        gone[active] += wrong
        end[active] = start
        passed = active[start == 0]
        again = (size[passed] > 1) | (gone[passed] > 0)
        size[passed] = (size[passed] // 2).clamp(min=1)
        end[passed], gone[passed] = length[passed], 0
        done = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        done[passed] = ~again
        active = active[~done[active]]
    batch.record(rows, moves.made(batch.clean[rows], kept), (moves.cost * kept).sum(1))


def in_order(batch: Batch, moves: Moves) -> None:
    """Make the first k moves for rising k until the sample is misclassified, bisect, and record the smallest k."""
    column = torch.arange(moves.cell.shape[1], device=batch.all.device)
    spent = (moves.cost * (moves.gain > -torch.inf)).cumsum(1)
    length = ((moves.gain > -torch.inf) & (spent <= batch.budget)).sum(1)
    low, high = torch.zeros_like(length), length + 1  # the most moves that break nothing, the fewest that break
    rows, step = batch.all, 1
    while len(rows):
        middle, longer = (low + high) // 2, length.clamp(max=step)
        numbers = torch.where(high > length, longer, middle)[rows]
        kept = (column < numbers[:, None])[:, None]
        broken = batch.query(rows, batch.clean[rows], moves.rows(rows), kept)[1][:, 0]
        high[rows[broken]], low[rows[~broken]] = numbers[broken], numbers[~broken]
        rows = rows[high[rows] - low[rows] > 1]
        step = max(step + 1, int(step * LADDER))
    rows = (high <= length).nonzero()[:, 0]
    made = moves.rows(rows).made(batch.clean[rows], column < high[rows, None])
    batch.record(rows, made, spent[rows].gather(1, high[rows, None] - 1)[:, 0])


@checked_events("topk")
def topk(model: Model, grids: Grids, labels: Labels, *, threat: Threat, budget: int = 1000, targets: int = 1) -> Found:
    """The moves with the largest gain along one gradient at the sample, as many as it takes: the baseline.

    Args:
        budget: largest budget per sample.
        targets: number of next best classes whose logit is raised in turn; 1 raises that of the best.
    """
    batch = Batch(model, grids, labels, threat, budget)
    for _ in batch.aims(targets):
        moves = threat.moves(grids, batch.clean, batch.slope(batch.all, batch.clean))
        in_order(batch, moves.best(batch.budget, repeated=True))
    return batch.found


@checked_events("random")
def random_moves(
    model: Model,
    grids: Grids,
    labels: Labels,
    *,
    threat: Threat,
    budget: int = 1000,
    draws: int = 5,
    generator: Generator = None,
) -> Found:
    """Moves in random order, as many as it takes: the control at every budget; the best of several orders counts."""
    batch = Batch(model, grids, labels, threat, budget)
    for _ in range(draws):
        in_order(batch, threat.random_moves(grids, batch.clean, generator).best(batch.budget))
    return batch.found


@checked_events("guided")
def guided(
    model: Model,
    grids: Grids,
    labels: Labels,
    *,
    threat: Threat,
    budget: int = 1000,
    candidates: int = 32,
    targets: int = 1,
) -> Found:
    """Moves proposed by the gradient and confirmed by a forward pass, then needless ones taken back (as SDA does).

    The moves of `topk` are tried first, so that it never needs more.

    Args:
        candidates: moves that each round proposes.
        budget, targets: as for `topk`.
    """
    batch = Batch(model, grids, labels, threat, budget)

    def propose(rows: Tensor, cells: Cells) -> Moves:
        return threat.moves(grids[rows], cells, batch.slope(rows, cells))

    for _ in batch.aims(targets):
        in_order(batch, propose(batch.all, batch.clean).best(batch.budget, repeated=True))
        climb(batch, propose, candidates)
    return batch.found


@checked_events("search")
def search_moves(
    model: Model,
    grids: Grids,
    labels: Labels,
    *,
    threat: Threat,
    budget: int = 1000,
    candidates: int = 64,
    generator: Generator = None,
) -> Found:
    """The same search without a gradient: half of the candidates are random, half had the largest effect so far."""
    batch = Batch(model, grids, labels, threat, budget)

    def propose(rows: Tensor, cells: Cells) -> Moves:
        moves = threat.random_moves(grids[rows], cells, generator)
        effect = batch.effects[rows].gather(1, moves.cell)
        least = effect.topk(min(candidates // 2 + 1, effect.shape[1]), 1).values[:, -1:]
        again = (effect > least.clamp(min=0)) & (moves.gain > -torch.inf)
        return moves._replace(gain=torch.where(again, torch.inf, moves.gain))

    in_order(batch, threat.random_moves(grids, batch.clean, generator).best(batch.budget))
    climb(batch, propose, candidates)
    return batch.found
