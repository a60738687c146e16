"""Our reading of "Distillation with contrast": teacher and student on point clouds, DGCNN inside.

Fu, Gao, Zhang, Li, Qiao, Wang, Distillation with contrast is all you need for self-supervised point
cloud representation learning, 2022, https://arxiv.org/abs/2202.04241. The authors published neither
code nor weights.
What is kept from the paper: a student learns from a teacher, by distillation and contrast, how the
whole shape and its local structures belong together, whatever the backbone; the pretrained backbone
is then used frozen (linear classification). What is our choice: DGCNN with its published widths,
the teacher's copy, the maximum and mean over the points (2,048 numbers), and the checkpoint format.

Checkpoint format: a mapping `teacher` of tensors (or the keys `teacher.*` among others), or that
mapping alone; keys are those of `DGCNN`, optionally after `module.` and `backbone.`. `head.*`,
`projector.*` and `predictor.*` are left out; so are `bn1` .. `bn5` at the top, where the reference
implementation of DGCNN lists its norms a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from baselines.pointcloud.dgcnn import DGCNN
from benchmark.checkpoint import fit, tensors_of

HEADS = r"^(head|projector|predictor)\.|^bn[1-5]\."


class DCGLR(nn.Module):
    """Points (B, N, 3) -> global feature of the teacher's DGCNN, (B, 2 width).

    Args:
        neighbours: k of the nearest-neighbour graphs.
        widths: channels of the four edge convolutions.
        width: channels of the last convolution.
    """

    modality: ClassVar[str] = "pointcloud"
    input: ClassVar[dict[str, Any]] = {"points": 1024, "normalise": "unit-sphere"}

    def __init__(
        self, neighbours: int = 20, widths: Sequence[int] = (64, 64, 128, 256), width: int = 1024
    ) -> None:
        super().__init__()
        self.backbone = DGCNN(neighbours, widths, width)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = self.backbone(points)
        return embedding

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load the teacher of a checkpoint in the format above."""
        teacher = tensors_of(entries, inside=("teacher",), prefixes=("module.",), only="teacher.")
        prefixes = ("module.", "backbone.")
        fit(self.backbone, tensors_of(teacher, prefixes=prefixes, drop=HEADS))
