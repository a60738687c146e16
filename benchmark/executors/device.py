"""The device and the precision that a run uses."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import SslBenchError


def choose_device(device: str) -> str:
    """`auto` resolved: the first CUDA device of this machine if there is one, else the CPU.

    Raises:
        SslBenchError: a device that is not there.
    """
    if device == "auto":
        import importlib.util

        device = "cpu"
        gpu = any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/dxg"))
        if gpu and importlib.util.find_spec("torch"):
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
    elif named_device(device) != "cpu":
        import torch

        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise SslBenchError(f"--device {device} cannot be used ({reason}): try cpu") from None
    return device


def named_device(device: str) -> str:
    """The device as it was named, on whatever machine it is.

    Raises:
        SslBenchError: no such kind of device.
    """
    if device.partition(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
        raise SslBenchError(f"--device {device!r} is not one of cpu, cuda, cuda:1, ..., auto")
    return device


def choose_precision(precision: str, device: str) -> str:
    """`auto` resolved: bfloat16 on CUDA, else float32.

    Raises:
        SslBenchError: an unknown precision.
    """
    known = ("float32", "bfloat16", "float16")
    if precision == "auto":
        precision = "bfloat16" if device.startswith("cuda") else "float32"
    if precision not in known:
        raise SslBenchError(f"--precision {precision!r} is not one of {', '.join(known)}, auto")
    return precision
