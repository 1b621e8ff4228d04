"""The training steps of the published code, rebuilt from its description, to be timed beside ours.

Source: the released code of "Fairness Reprogramming" (arXiv 2209.10222) as it behaves: images under mixed precision
with a loss scaler, two backward passes; texts in float32 with the frozen model in train mode and gradients of all of
its weights computed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def image_step(network: nn.Module, images: Tensor, labels: Tensor, groups: Tensor) -> Callable[[], None]:
    """One step of the border trigger, adversarial with projection: uint8 (B, 3, S, S), labels (B,), groups (B,)."""
    device, size, frame = images.device, images.shape[-1], 20
    mask = torch.ones(3, size, size, device=device)
    mask[:, frame : size - frame, frame : size - frame] = 0
    weight = nn.Parameter(torch.rand(3, size, size, device=device) * 2 - 1)
    adversary = nn.Sequential(nn.Linear(4, 512), nn.ReLU(), nn.Linear(512, 2)).to(device)
    ours = torch.optim.Adam([weight], lr=0.05, weight_decay=2e-5)
    theirs = torch.optim.Adam(adversary.parameters(), lr=0.05, weight_decay=2e-5)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    half = torch.float16 if device.type == "cuda" else torch.bfloat16

    def step() -> None:
        with torch.autocast(device.type, half):
            x = images.float() / 255 * (1 - mask) + torch.tanh(weight * mask)
            logits = network(x)
            features = torch.cat([logits, torch.softmax(logits * 2, dim=-1)], dim=-1)
            guessing = functional.cross_entropy(adversary(features), groups)
        ours.zero_grad()
        theirs.zero_grad()
        torch.autograd.backward(scaler.scale(guessing), retain_graph=True)
        assert weight.grad is not None
        a = weight.grad.clone()
        scaler.step(theirs)
        scaler.update()
        with torch.autocast(device.type, half):
            utility = functional.cross_entropy(logits, labels)
        torch.autograd.backward(scaler.scale(utility))
        unit = a / a.norm()
        weight.grad.sub_((weight.grad * unit).sum() * unit + 5.0 * a)
        scaler.step(ours)
        scaler.update()

    return step


def text_step(network: nn.Module, ids: Tensor, labels: Tensor, groups: Tensor, tokens: int) -> Callable[[], None]:
    """One step of a soft trigger for a one-logit model: ids (B, L) without padding, labels (B,), groups (B, G)."""
    device = ids.device
    network.train().requires_grad_(True)
    table = network.get_input_embeddings().weight  # type: ignore[operator]
    selector = nn.Parameter(torch.zeros(tokens, len(table), device=device))
    with torch.no_grad():
        selector[torch.arange(tokens), torch.randint(len(table), (tokens,))] = 1.0
    adversary = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 8))
    adversary.to(device)
    ours = torch.optim.AdamW([selector], lr=0.1, weight_decay=0.01)
    theirs = torch.optim.Adam(adversary.parameters(), lr=1e-3, weight_decay=5e-4)

    def step() -> None:
        trigger = (selector @ table).expand(len(ids), -1, -1)
        embeds = torch.cat([trigger, table[ids]], dim=1)
        logit = network(inputs_embeds=embeds).logits.float()
        features = torch.cat([torch.sigmoid(2 * logit), logit], dim=-1)
        guessing = functional.binary_cross_entropy_with_logits(adversary(features), groups.float())
        ours.zero_grad()
        theirs.zero_grad()
        network.zero_grad()
        torch.autograd.backward(guessing, retain_graph=True)
        assert selector.grad is not None
        a = selector.grad.clone()
        theirs.step()
        ours.zero_grad()
        torch.autograd.backward(functional.binary_cross_entropy_with_logits(logit[:, 0], labels.float()))
        unit = a / a.norm()
        selector.grad.sub_((selector.grad * unit).sum() * unit + 5.0 * a)
        ours.step()

    return step
