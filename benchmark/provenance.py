"""Where numbers come from: versions, revision, device, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from benchmark.results import Environment

PACKAGES: tuple[str, ...] = ("ssl-bench", "torch", "numpy", "scipy", "scikit-learn", "datasets")
PACKAGES += ("torchaudio", "torchvision", "librosa", "transformers", "timm", "open3d-cpu")


@cache
def revision() -> str | None:
    """The git revision of this checkout, with "+" where files differ; None outside a checkout."""
    top = Path(__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(top), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        return git("rev-parse", "HEAD").strip() + (
            "+" if git("status", "--porcelain").strip() else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def environment(
    device: str, precision: str, threads: int, batch_size: int, store_dtype: str = "float32"
) -> Environment:
    """The environment block of a result file."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Environment(
        device=_device_name(device),
        precision=precision,
        threads=threads,
        batch_size=batch_size,
        store_dtype=store_dtype,
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine()}",
        packages=packages,
        revision=revision(),
    )


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def peak_memory_mib(device: str) -> float:
    """Peak memory so far: of the GPU where one is used, else of this process."""
    if device.startswith("cuda"):
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform != "darwin" else 2**20), 1)
