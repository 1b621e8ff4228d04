"""The training objective: losses and the fair gradient, as pure functions on tensors.

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

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trainer.config import Criterion, ObjectiveConfig

BANDWIDTHS = (0.05, 0.1, 0.2, 0.5)
"""Kernel widths of the maximum mean discrepancy, in units of a class probability."""


def utility_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy (K,) of logits (K, B, L) against labels (B,), rows counting as `weights` (B,) say."""
    targets = labels.expand(len(logits), -1)
    losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return (losses if weights is None else losses * weights).mean(dim=1)


def kamiran_calders_weights(labels: Tensor, groups: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Weights (L, G) under which label and group are independent: n(label) n(group) / (n n(label, group)).

    Source: Kamiran and Calders, KAIS 2012. A utility loss weighted so no longer pays for guessing the label from the
    group. Cells without rows get 0.
    """
    cells = torch.bincount(labels * sizes[1] + groups, minlength=sizes[0] * sizes[1]).view(sizes).double()
    expected = cells.sum(dim=1, keepdim=True) * cells.sum(dim=0, keepdim=True) / cells.sum()
    return torch.where(cells > 0, expected / cells.clamp(min=1), 0.0).float()


def project_out_and_subtract(u: Tensor, a: Tensor, strength: Tensor) -> Tensor:
    """The fair gradient u - (u.â)â - strength * a of each trigger: u and a (K, ...), strength (K,); â = a / |a|."""
    flat_u, flat_a = u.flatten(1), a.flatten(1)
    unit = functional.normalize(flat_a, dim=1)  # zero stays zero
    along = (flat_u * unit).sum(dim=1, keepdim=True) * unit
    return (flat_u - along - strength[:, None] * flat_a).view_as(u)


def subtract_unprojected(u: Tensor, a: Tensor, strength: Tensor) -> Tensor:
    """The fair gradient without the projection: u - strength * a."""
    return u - strength.view(-1, *[1] * (u.ndim - 1)) * a


def fair_gradients(
    u: Sequence[Tensor | None], a: Sequence[Tensor | None], strengths: Tensor, *, projection: bool
) -> list[Tensor | None]:
    """u - (u.â)â - strength * a of every tensor by itself, for each of the K `strengths`; without projection the plain
    u - strength * a. A tensor has K equal parts, or is of one strength. None for a tensor that has no gradient.
    """
    fair, count = project_out_and_subtract if projection else subtract_unprojected, len(strengths)
    return [
        None if du is None or da is None else fair(du.reshape(count, -1), da.reshape(count, -1), strengths).view_as(du)
        for du, da in zip(u, a, strict=True)
    ]


def stratum_membership(labels: Tensor, criterion: Criterion, label_count: int) -> Tensor:
    """Strata in which groups are compared (B, S): all rows for demographic parity, each label for equalized odds."""
    if criterion == "demographic_parity":
        return torch.ones(len(labels), 1, device=labels.device)
    return functional.one_hot(labels, label_count).float()


def cell_membership(labels: Tensor, members: Tensor, criterion: Criterion, label_count: int) -> Tensor:
    """Membership of rows in cells (B, S, G) of stratum and group, from members (B, G) as in `Dataset.members`."""
    return stratum_membership(labels, criterion, label_count)[:, :, None] * members[:, None, :]


def mmd_loss(logits: Tensor, members: Tensor) -> Tensor:
    """Squared maximum mean discrepancy (K,) between the groups' scores: over pairs of groups, then strata, averaged.

    logits (K, B, L), members (B, S, G). Zero only if the scores are distributed alike, not just alike on average.
    A mixture of Gaussian kernels of widths BANDWIDTHS; the biased estimate, as in the released code, which draws random
    features of one kernel instead (Gretton et al., JMLR 2012).
    """
    scores = torch.softmax(logits, dim=-1)
    squares = (scores.unsqueeze(2) - scores.unsqueeze(1)).square().sum(dim=-1)  # (K, B, B)
    kernel = torch.stack([torch.exp(squares / (-2 * width**2)) for width in BANDWIDTHS]).mean(dim=0)
    sizes = members.sum(dim=0)  # (S, G)
    shares = members / sizes.clamp(min=1)  # (B, S, G)
    inner = torch.einsum("bsg,kbc,csh->ksgh", shares, kernel, shares)
    own = inner.diagonal(dim1=2, dim2=3)
    return _over_pairs(own.unsqueeze(3) + own.unsqueeze(2) - 2 * inner, sizes)


def gap_loss(logits: Tensor, members: Tensor, temperature: float) -> Tensor:
    """Squared difference (K,) of the groups' mean softened predictions: over pairs of groups, then strata, averaged.

    logits (K, B, L), members (B, S, G) of `cell_membership`. For two labels it is the squared gap of the mean score of
    one of them. A lower temperature brings the scores closer to decisions. Cells without rows take no part.
    """
    scores = torch.softmax(logits / temperature, dim=-1)
    sizes = members.sum(dim=0)  # (S, G)
    means = torch.einsum("kbl,bsg->ksgl", scores, members) / sizes.clamp(min=1)[..., None]
    return _over_pairs(0.5 * (means.unsqueeze(3) - means.unsqueeze(2)).square().sum(dim=-1), sizes)


def _over_pairs(distances: Tensor, sizes: Tensor) -> Tensor:
    """Distances (K, S, G, G) averaged over pairs of groups that have rows (sizes (S, G)), then over strata: (K,)."""
    present = (sizes > 0).float()
    pairs = (present[:, :, None] * present[:, None, :]).triu(diagonal=1)  # (S, G, G)
    counts = pairs.sum(dim=(1, 2))
    strata = (distances * pairs).sum(dim=(2, 3)) / counts.clamp(min=1)  # (K, S)
    return strata.sum(dim=1) / (counts > 0).sum().clamp(min=1)


def distance_loss(logits: Tensor, members: Tensor, everyone: Tensor, temperature: float) -> Tensor:
    """Squared distance (K,) of each group's mean softened prediction to everyone's: over groups, then strata, averaged.

    The rule for overlapping groups, whose gap is published as the mean distance to the overall rate; a pair of them
    would be compared by what both share. `everyone` (B, S) of `stratum_membership` holds the rows of no group too. For
    two disjoint groups of equal size it is a quarter of `gap_loss`. Cells without rows take no part.
    """
    scores = torch.softmax(logits / temperature, dim=-1)
    sizes = members.sum(dim=0)  # (S, G)
    means = torch.einsum("kbl,bsg->ksgl", scores, members) / sizes.clamp(min=1)[..., None]
    overall = torch.einsum("kbl,bs->ksl", scores, everyone) / everyone.sum(dim=0).clamp(min=1)[:, None]
    squares = 0.5 * (means - overall[:, :, None]).square().sum(dim=-1)  # (K, S, G)
    present = (sizes > 0).float()
    counts = present.sum(dim=1)  # (S,)
    return ((squares * present).sum(dim=2) / counts.clamp(min=1)).sum(dim=1) / (counts > 0).sum().clamp(min=1)


def group_distance(
    logits: Tensor, labels: Tensor, members: Tensor, objective: ObjectiveConfig, *, overlapping: bool
) -> Tensor:
    """Distance of the groups' predictions (K,), as [objective] measures it without an adversary.

    logits (K, B, L), labels (B,), members (B, G). Groups that overlap are compared with everyone, others in pairs.
    """
    count, criterion = logits.shape[-1], objective.criterion
    cells = cell_membership(labels, members, criterion, count)
    if objective.name == "mmd":
        return mmd_loss(logits, cells)
    if overlapping:
        return distance_loss(logits, cells, stratum_membership(labels, criterion, count), objective.temperature)
    return gap_loss(logits, cells, objective.temperature)


def cell_weights(labels: Tensor, groups: Tensor, sizes: tuple[int, int], objective: ObjectiveConfig) -> Tensor | None:
    """Weights (L, G) of the utility loss by label and group, on the CPU; None if [objective] does not reweigh."""
    return kamiran_calders_weights(labels.cpu(), groups.cpu(), sizes) if objective.reweigh else None
