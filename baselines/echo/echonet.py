"""EchoNet-Dynamic's R(2+1)D (Ouyang et al., Nature 2020, doi:10.1038/s41586-020-2145-8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from benchmark.checkpoint import fit, tensors_of

# The authors draw mean and deviation from 128 training videos at every start and store neither
# (`get_mean_and_std`, echonet/utils/__init__.py). This is one published draw of that procedure;
# others differ by about 1 in 255 grey levels, 2% of the deviation.
MEAN = (32.756416 / 255, 32.941185 / 255, 33.275223 / 255)
STD = (49.92367 / 255, 50.0535 / 255, 50.396824 / 255)


class EchoNetR2Plus1D(nn.Module):
    """`echonet-r2plus1d`: pooled features of torchvision's r2plus1d_18 under the regression of the
    ejection fraction; 32 frames, every second of the video, 112 x 112 pixels.

    A short clip is filled with zeros after scaling, the mean colour, as in the authors'
    `echonet/datasets/echo.py`. They average over all clips of a video, the engine over consecutive
    ones.
    """

    modality: ClassVar[str] = "echo"

    def __init__(self, frames: int = 32, stride: int = 2, size: int = 112, blocks: int = 2) -> None:
        super().__init__()
        from torchvision.models.video.resnet import (
            BasicBlock,
            Conv2Plus1D,
            R2Plus1dStem,
            VideoResNet,
        )

        self.input = {
            "frames": frames,
            "stride": stride,
            "size": size,
            "channels": 3,
            "mean": MEAN,
            "std": STD,
        }
        self.frames_a_clip = frames
        # what r2plus1d_18 builds, with the number of blocks a stage (two) left open
        self.model = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [blocks] * 4, R2Plus1dStem)
        self.model.fc = nn.Identity()

    def forward(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, 3, T, H, W), (B,) valid frames -> (B, 512)."""
        return self._maps(video, lengths).float().mean((2, 3, 4))

    def patches(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The last feature map at the clip's beginning, (B, H / 16, W / 16, 512)."""
        return self._maps(video, lengths)[:, :, 0].permute(0, 2, 3, 1).float()

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The authors' checkpoint: `module.*` (saved from DataParallel) inside `state_dict`; the
        regression layer `fc` is left out.

        Raises:
            EncoderError: keys missing, surplus or of another shape.
        """
        tensors = tensors_of(
            entries, inside=("state_dict",), prefixes=("module.",), drop=r"^fc\.(weight|bias)$"
        )
        fit(self.model, tensors)

    def _maps(self, video: Tensor, lengths: Tensor | None) -> Tensor:
        clip = video[:, :, : self.frames_a_clip]
        clip = pad(clip, (0, 0, 0, 0, 0, self.frames_a_clip - clip.shape[2]))
        if lengths is not None:
            steps = torch.arange(self.frames_a_clip, device=video.device)
            valid = steps[None] < lengths.to(video.device)[:, None]
            clip = torch.where(valid[:, None, :, None, None], clip, 0.0)
        maps = self.model.stem(clip)
        for stage in (self.model.layer1, self.model.layer2, self.model.layer3, self.model.layer4):
            maps = stage(maps)
        return maps
