"""What a trigger is trained for: losses and the fair gradient, as pure functions on tensors.

K strengths are trained side by side: a leading K is the strength everywhere, and every loss is (K,), so that the sum
over K gives each trigger its own gradient. B rows, L labels, G groups, S strata.

The published adversarial objective takes two gradients of a trigger, u of the utility loss and a of the adversary's
loss, and descends u - (u.â)â - strength * a. Deliberate departures from the released code (arXiv 2209.10222):

- The frozen model runs in eval mode: there, text triggers are tuned under the model's own dropout.
- A zero adversary gradient leaves u as it is; there, the missing epsilon makes it NaN.
- The two gradients are taken separately; there, images add u onto a (harmless, the projection removes it again).
- No loss scaler: there, its update between the two gradients can double the strength for one step.
- No gradient of a model weight is ever computed; there, all of BERT's are, and then ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainer.config import Criterion


def utility_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy (K,) of logits (K, B, L) against labels (B,)."""
    targets = labels.expand(len(logits), -1)
    return functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(dim=1)


def surgery(u: Tensor, a: Tensor, strength: Tensor) -> Tensor:
    """The fair gradient u - (u.â)â - strength * a of each trigger: u and a (K, ...), strength (K,); â = a / |a|."""
    flat_u, flat_a = u.flatten(1), a.flatten(1)
    unit = functional.normalize(flat_a, dim=1)  # zero stays zero
    along = (flat_u * unit).sum(dim=1, keepdim=True) * unit
    return (flat_u - along - strength[:, None] * flat_a).view_as(u)


def plain_gradient(u: Tensor, a: Tensor, strength: Tensor) -> Tensor:
    """The same without the projection: u - strength * a."""
    return u - strength.view(-1, *[1] * (u.ndim - 1)) * a


def strata(labels: Tensor, criterion: Criterion, label_count: int) -> Tensor:
    """Within what the groups are compared (B, S): everyone for demographic parity, each label for equalized odds."""
    if criterion == "demographic_parity":
        return torch.ones(len(labels), 1, device=labels.device)
    return functional.one_hot(labels, label_count).float()


def membership(labels: Tensor, members: Tensor, criterion: Criterion, label_count: int) -> Tensor:
    """Which row is in which cell (B, S, G) of stratum and group, from members (B, G) as `Dataset.members` has them."""
    return strata(labels, criterion, label_count)[:, :, None] * members[:, None, :]


def gap_loss(logits: Tensor, members: Tensor, temperature: float) -> Tensor:
    """Squared difference (K,) of the groups' mean softened predictions: over pairs of groups, then strata, averaged.

    logits (K, B, L), members (B, S, G) of `membership`. For two labels it is the squared gap of the mean score of one
    of them. A lower temperature brings the scores closer to decisions. Cells without rows take no part.
    """
    scores = torch.softmax(logits / temperature, dim=-1)
    sizes = members.sum(dim=0)  # (S, G)
    means = torch.einsum("kbl,bsg->ksgl", scores, members) / sizes.clamp(min=1)[..., None]
    squares = 0.5 * (means.unsqueeze(3) - means.unsqueeze(2)).square().sum(dim=-1)  # (K, S, G, G)
    present = (sizes > 0).float()
    pairs = (present[:, :, None] * present[:, None, :]).triu(diagonal=1)  # (S, G, G)
    counts = pairs.sum(dim=(1, 2))
    strata = (squares * pairs).sum(dim=(2, 3)) / counts.clamp(min=1)  # (K, S)
    return strata.sum(dim=1) / (counts > 0).sum().clamp(min=1)


def distance_loss(logits: Tensor, members: Tensor, everyone: Tensor, temperature: float) -> Tensor:
    """Squared distance (K,) of each group's mean softened prediction to everyone's: over groups, then strata, averaged.

    The rule for overlapping groups, whose gap is published as the mean distance to the overall rate; a pair of them
    would be compared by what both share. `everyone` (B, S) of `strata` holds the rows of no group too. For two disjoint
    groups of equal size it is a quarter of `gap_loss`. Cells without rows take no part.
    """
    scores = torch.softmax(logits / temperature, dim=-1)
    sizes = members.sum(dim=0)  # (S, G)
    means = torch.einsum("kbl,bsg->ksgl", scores, members) / sizes.clamp(min=1)[..., None]
    overall = torch.einsum("kbl,bs->ksl", scores, everyone) / everyone.sum(dim=0).clamp(min=1)[:, None]
    squares = 0.5 * (means - overall[:, :, None]).square().sum(dim=-1)  # (K, S, G)
    present = (sizes > 0).float()
    counts = present.sum(dim=1)  # (S,)
    return ((squares * present).sum(dim=2) / counts.clamp(min=1)).sum(dim=1) / (counts > 0).sum().clamp(min=1)
