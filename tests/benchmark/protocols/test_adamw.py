from __future__ import annotations

import torch

from benchmark.protocols.adamw import AdamW


def test_steps_are_those_of_torch_optim():
    torch.manual_seed(0)
    start, target = torch.randn(6), torch.randn(6)
    ours = start.clone().requires_grad_()
    theirs = start.clone().requires_grad_()
    optimiser = AdamW([ours], 0.05, 0.01)
    reference = torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.01)
    for _ in range(50):
        optimiser.step(((ours - target) ** 4).sum())
        reference.zero_grad()
        ((theirs - target) ** 4).sum().backward()
        reference.step()
    torch.testing.assert_close(ours, theirs)
