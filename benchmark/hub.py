"""Published weights from the Hugging Face hub: a pinned revision, checked, cached."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.catalog import EncoderCard, HubFile
from benchmark.errors import EncoderError
from benchmark.paths import file_sha256


def published_weights(card: EncoderCard, name: str) -> Path:
    """The local copy of an encoder's published weights.

    Raises:
        EncoderError: not on the hub, or `fetch` cannot get them; says what to pass instead.
    """
    if card.hub is None:
        raise EncoderError(
            f"{name} needs its weights: {card.weights or 'see its card'}; pass them with "
            "--checkpoint FILE, or use --init random for the untrained architecture"
        )
    return fetch(card.hub, name)


def fetch(file: HubFile, name: str, *, weights: bool = True) -> Path:
    """The local copy of a published file, downloaded by huggingface_hub if it is not there yet.

    weights: the file could be passed by --checkpoint as well; a vocabulary could not. `HF_HOME`,
    `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they do there.

    Raises:
        EncoderError: unreachable, gated, withdrawn or damaged; says which file, from where, and
            how to pass a copy of it.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    datasets = "datasets/" if file.kind == "dataset" else ""
    page = f"https://huggingface.co/{datasets}{file.repo}"
    by_hand = (
        "or pass a copy of the file with --checkpoint FILE" if weights else "or copy its cache"
    )
    untrained = ", or use --init random for the untrained architecture" if weights else ""
    try:
        cached = try_to_load_from_cache(
            file.repo, file.file, revision=file.revision, repo_type=file.kind
        )
        if not isinstance(cached, str) and not _reachable():
            raise LocalEntryNotFoundError("no network")  # the library would try for half a minute
        path = Path(
            hf_hub_download(file.repo, file.file, revision=file.revision, repo_type=file.kind)
        )
    except GatedRepoError:
        raise EncoderError(
            f"{name}: {file.file} is gated; accept the licence at {page}, then set HF_TOKEN, "
            f"{by_hand}"
        ) from None
    except LocalEntryNotFoundError:
        gated = f"; accept the licence at {page} and set HF_TOKEN first" if file.gated else ""
        raise EncoderError(
            f"{name} needs {file.file} of {page} (revision {file.revision}), which is not here and "
            f"the hub cannot be reached: connect once{gated}, {by_hand}{untrained}"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EncoderError(
            f"{name}: {file.file} of {page} (revision {file.revision}) cannot be downloaded "
            f"({reason}); try again, {by_hand}"
        ) from None
    _verify(path, file, name)
    return path


def _reachable() -> bool:
    """Whether the hub's name can be resolved; behind a proxy that is not ours to ask."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub.constants import ENDPOINT

    host = urlsplit(ENDPOINT)
    if getproxies():
        return True
    try:
        socket.getaddrinfo(host.hostname, host.port or 443)
    except OSError:
        return False
    return True


def _verify(path: Path, file: HubFile, name: str) -> None:
    """Compare with the recorded checksum, else with the hub's own (the name of its blob)."""
    blob = path.resolve().name
    expected = file.sha256 or (blob if re.fullmatch(r"[0-9a-f]{64}", blob) else "")
    if expected and file_sha256(path) != expected:
        raise EncoderError(
            f"{name}: {path} is damaged (its sha256 is not {expected}): delete {path.resolve()} "
            "and run again"
        )
