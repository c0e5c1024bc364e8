"""Retiming by a relaxed permutation: every event has a probability for each bin, which gradients change.

With logits theta of an event, A = softmax(theta) over the bins that it may reach, and the soft grid is the sum of x A
over the events x. The forward pass sees the rounded grid, the backward pass the soft one. The loss is the margin, minus
a price times the expected number of moves; the price of a sample rises while it is broken and falls while it is not.
"""

import torch

from hiresnn.attacks.discrete import Batch, Path, reduce
from hiresnn.attacks.events import Found, Grids, Retiming, Threat, checked_events
from hiresnn.attacks.gate import Labels, Model
from hiresnn.checks import correct
from hiresnn.errors import UsageError

STAY = 3.0  # first logit of the bin that an event is in; the others start at 0
PRICE, CHANGE = 1e-3, 1.3  # first price of a move in units of the margin, and the factor by which it changes


@checked_events("relaxed")
def relaxed(
    model: Model,
    grids: Grids,
    labels: Labels,
    *,
    threat: Threat,
    budget: int = 1000,
    iterations: int = 100,
    rate: float = 0.3,
) -> Found:
    """Retiming by a soft assignment of events to bins, rounded and confirmed in every iteration, then reduced.

    Args:
        budget: largest budget per sample.
        iterations: steps of Adam, one forward and one backward pass each.
        rate: step of Adam on the logits of the assignment.

    Raises:
        UsageError: the threat model is not retiming.
    """
    if not isinstance(threat, Retiming):
        raise UsageError(f"relaxed moves events in time, but the threat model is {threat}; use guided.")
    batch = Batch(model, grids, labels, threat, budget)
    before, bins = grids.flatten(2), grids.shape[1]
    times = torch.arange(bins, device=grids.device)
    shift = (times[None] - times[:, None]).abs()
    far = (shift > threat.within) & bool(threat.within)
    theta = (STAY * (shift == 0)).masked_fill(far, -torch.inf)[None, :, :, None].to(grids)
    theta = theta.expand(len(grids), -1, -1, before.shape[2]).clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], rate)
    price, path = torch.full((len(grids),), PRICE, device=grids.device), None
    cost = (shift if threat.budget == "sum" else shift > 0)[None, :, :, None].to(grids)
    for _ in range(iterations):
        with torch.enable_grad():
            log = theta.log_softmax(2)
            chance = log.exp()
            soft = torch.einsum("bsl,bstl->btl", before, chance).flatten(1)
            with torch.no_grad():
                stays = log.diagonal(dim1=1, dim2=2).movedim(2, 1)
                moves = threat.pairs(grids, batch.clean, log - stays[:, :, None]).best(batch.budget)
                kept = (moves.gain > 0) & ((moves.cost * (moves.gain > 0)).cumsum(1) <= batch.budget)
                hard = moves.made(batch.clean, kept)
            logits = model((soft + (hard - soft).detach()).view_as(grids)).float()
            expected = (before[:, :, None] * chance * cost).flatten(1).sum(1)
            loss = batch.loss(logits, batch.all) - price * expected
            (gradient,) = torch.autograd.grad(loss.sum(), theta)
        theta.grad = -gradient.nan_to_num(0)
        optimizer.step()
        wrong = ~correct(logits.detach(), labels)
        path = path or Path(moves, len(grids), moves.cell.shape[1])
        spent = (moves.cost * kept).sum(1)
        better = wrong & (spent < batch.budgets)
        path.length[better] = 0
        path.append(batch.all[better], moves.rows(better), kept[better])
        batch.record(batch.all[better], hard[better], spent[better])
        price = torch.where(wrong, price * CHANGE, price / CHANGE)
    broken = batch.budgets.isfinite().nonzero()[:, 0]
    if path is not None and len(broken):
        reduce(batch, broken, path)
    return batch.found
