"""What a run would have to work with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machines:
    """Workers of one executor."""

    executor: str
    workers: int
    threads: int
    device: str
    share: float = 1.0  # of a GPU, for each worker
