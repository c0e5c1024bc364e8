"""What a random network answers over repeated draws, and how many draws its gradients have to be averaged over.

A draw is one pass with new random numbers, such as Poisson spikes or noise. A gradient that is averaged over too few
draws is mostly noise, and an attack along it says nothing (EOT, Athalye et al. 2018). So the audit doubles the draws
until the accuracy under attack no longer changes.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks import frozen
from hiresnn.audit.behaviour import InstrumentedModel
from hiresnn.audit.card import Randomness, Tried, Voted, share

TOLERANCE = 1.0  # percentage points, at least one image, by which more draws may change the accuracy under attack
LEAST, MOST = 16, 64  # draws of a gradient that are always tried, and that are tried at most
VOTES = 100  # draws over which an accuracy is measured
CHANCE = 0.05  # share of the images whose majority vote may differ when the votes are repeated


def draws_needed(tried: Sequence[Tried], tolerance: float = TOLERANCE) -> int | None:
    """The fewest draws of a gradient that more draws improve on by at most `tolerance` percentage points.

    Both accuracies count, by majority vote and of single draws. Two doublings must confirm it, and `LEAST` draws must
    have been tried; else None.

    >>> draws_needed([Tried(draws=2**k, vote=60 + 20 / 2**k, mean=60) for k in range(7)])
    16
    """
    if not tried or tried[-1].draws < LEAST:
        return None
    for position, first in enumerate(tried[:-2]):
        rest = tried[position + 1 :]
        if all(abs(one.vote - first.vote) <= tolerance and abs(one.mean - first.mean) <= tolerance for one in rest):
            return first.draws
    return None


def voted(votes: Int64[Tensor, "draw image"], labels: Int64[Tensor, " image"]) -> Voted:
    """The accuracy of these votes; a vote of -1 (logits that are not finite) is a class of its own."""
    right = 100 * (votes == labels).double().mean(1)
    count = int((votes.mode(0).values == labels).sum())
    spread = float(right.std(correction=0))
    return Voted(vote=share(count, len(labels)), mean=round(float(right.mean()), 2), spread=round(spread, 2))


class HardestImages:
    """For each image the candidate that the fewest draws classify correctly.

    Half of the votes on a candidate choose, and the other half are reported: a candidate that only had bad luck does
    not lower the reported accuracy.
    """

    def __init__(self, labels: Int64[Tensor, " image"]) -> None:
        self.labels = labels.cpu()
        self.right: Float[Tensor, " image"] = torch.full((len(labels),), torch.inf)
        self.votes = torch.full((VOTES, len(labels)), -1)

    def consider(self, votes: Int64[Tensor, "draw image"]) -> Voted:
        """Take the candidates on which these 2 `VOTES` draws are wrong more often; return the accuracy since then."""
        right = (votes[:VOTES] == self.labels).float().mean(0)
        harder = right < self.right
        self.right[harder], self.votes[:, harder] = right[harder], votes[VOTES:, harder]
        return voted(self.votes, self.labels)


def random_faults(
    stated: Randomness,
    model: InstrumentedModel,
    clean: Tensor,
    attacked: Tensor,
    labels: Int64[Tensor, " image"],
    batch_size: int,
) -> Iterator[str]:
    """Contradictions between the accuracies that a card states and new draws; `attacked` are the images that it stores.

    The accuracy on attacked images may be lower than on the stored ones: the audit attacked images that stand, too.
    """
    if not model.random:
        yield "the card has accuracies over draws of its network, which is not random"
    elif draws_needed(stated.tried, stated.tolerance) != stated.needed:
        yield f"the card says that {stated.needed} draws are enough, which the accuracies beside it contradict"
    for name, said, images in (("clean", stated.clean, clean), ("attacked", stated.attacked, attacked)):
        with frozen(model), model.measured(1):
            votes = [model.votes(batch, stated.votes) for batch in torch.split(images, batch_size)]
        true = voted(torch.cat(votes, 1), labels)
        allowed = max(TOLERANCE, 5 * true.spread * math.sqrt(2 / stated.votes))
        for of, high, by_draws, most in (
            ("single draws", said.mean, true.mean, allowed),
            ("majority votes", said.vote.percent, true.vote.percent, 100 * CHANCE),
        ):
            if high - by_draws > most or (name == "clean" and by_draws - high > most):
                yield f"{name}: the card says that {high:g} % of {of} are right, the network {by_draws:g} %"
