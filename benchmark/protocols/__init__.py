"""How embeddings become a score: one file per protocol, found by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from benchmark.catalog import nearest
from benchmark.errors import SslBenchError

if TYPE_CHECKING:
    from benchmark.protocols.contract import Protocol

PROTOCOLS = {
    "linear-probe": "benchmark.protocols.linear_probe:LinearProbeProtocol",
    "knn": "benchmark.protocols.knn:KnnProtocol",
    "few-shot": "benchmark.protocols.few_shot:FewShotProtocol",
    "zero-shot": "benchmark.protocols.zero_shot:ZeroShotProtocol",
    "label-efficiency": "benchmark.protocols.label_efficiency:LabelEfficiencyProtocol",
    "retrieval": "benchmark.protocols.retrieval:RetrievalProtocol",
    "anomaly": "benchmark.protocols.anomaly:AnomalyProtocol",
    "verification": "benchmark.protocols.verification:VerificationProtocol",
}


def protocol(name: str) -> Protocol:
    """The protocol `name`.

    Raises:
        SslBenchError: no such protocol, with the nearest name.
    """
    if name not in PROTOCOLS:
        raise SslBenchError(
            f"there is no protocol {name!r}.{nearest(name, PROTOCOLS)} "
            f"Known: {', '.join(PROTOCOLS)}."
        )
    module, attribute = PROTOCOLS[name].split(":")
    found: Protocol = getattr(import_module(module), attribute)()
    return found
