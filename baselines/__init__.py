"""The encoders that ship with the project: one file per encoder family, cards per modality."""

from importlib import import_module

from benchmark.catalog import EncoderCard

_GROUPS = ("audio", "pointcloud", "echo", "ecg", "histopathology", "astronomy", "generic")


def __getattr__(name: str) -> list[EncoderCard]:
    if name != "ENCODERS":
        raise AttributeError(name)
    return [card for group in _GROUPS for card in import_module(f"baselines.{group}").ENCODERS]
