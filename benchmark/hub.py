"""Published weights from the Hugging Face hub: at one commit, resumable, checked, cached.

`huggingface_hub` finds, authorises and caches; the bytes come by `benchmark.download`, because a
download of the library that is killed begins again. `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and
`HF_HUB_OFFLINE` mean what they do there.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.catalog import EncoderCard, HubFile
from benchmark.distribution import Download
from benchmark.download import Progress, download_file
from benchmark.errors import EncoderError, SslBenchError
from benchmark.paths import file_sha256

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PublishedFile:
    """The local copy of a published file."""

    path: Path
    commit: str  # of the hub's repository


def published_weights(card: EncoderCard, name: str) -> PublishedFile:
    """The local copy of an encoder's published weights.

    Raises:
        EncoderError: not on the hub, or `fetch` cannot get them; says what to pass instead.
    """
    if card.hub is None:
        raise EncoderError(
            f"{name} needs its weights: {card.weights or 'see its card'}; pass them with "
            "--checkpoint FILE, or use --init random for the untrained architecture"
        )
    path = fetch(card.hub, name)
    snapshot = path.parents[len(Path(card.hub.file).parts) - 1]
    return PublishedFile(path, snapshot.name)


def fetch(file: HubFile, name: str, *, weights: bool = True) -> Path:
    """The local copy of a published file, downloaded if it is not there yet.

    What is there stays: a card that follows a branch keeps the commit that was downloaded first.
    weights: the file could be passed by --checkpoint as well; a vocabulary could not.

    Raises:
        EncoderError: unreachable, gated, withdrawn or damaged; says which file, from where, and
            how to pass a copy of it.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    page = _page(file)
    by_hand = (
        "or pass a copy of the file with --checkpoint FILE" if weights else "or copy its cache"
    )
    untrained = ", or use --init random for the untrained architecture" if weights else ""
    place = (file.repo, file.file)
    try:
        cached = try_to_load_from_cache(*place, revision=file.revision, repo_type=file.kind)
        if not isinstance(cached, str):
            if not _reachable():
                raise LocalEntryNotFoundError("no network")  # the library would try for long
            _download(file)
            cached = hf_hub_download(*place, revision=file.revision, repo_type=file.kind)
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
    except (HfHubHTTPError, OSError, ValueError, SslBenchError) as error:
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(
            f"{name}: {file.file} of {page} (revision {file.revision}) cannot be downloaded "
            f"({reason}); try again, {by_hand}"
        ) from None
    path = Path(cached)
    _verify(path, file, name)
    return path


def newer_commit(file: HubFile, have: PublishedFile) -> str | None:
    """The commit at which the hub now offers another file than `have`, where the card names a
    branch; None where nothing changed, the card names a commit, or the hub cannot be asked."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    if file.pinned or constants.HF_HUB_OFFLINE or not _reachable():
        return None
    url = hf_hub_url(file.repo, file.file, revision=file.revision, repo_type=file.kind)
    try:
        found = get_hf_file_metadata(url, timeout=5)
    except (HfHubHTTPError, OSError, ValueError):
        return None
    unchanged = found.commit_hash == have.commit or found.etag == have.path.resolve().name
    return None if unchanged else found.commit_hash


def _page(file: HubFile) -> str:
    return f"https://huggingface.co/{'datasets/' if file.kind == 'dataset' else ''}{file.repo}"


def _download(file: HubFile) -> None:
    """Bring a large file into the hub's cache, where the library then finds it.

    Small files (vocabularies) have no sha256 as their name there; they are left to the library.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    if constants.HF_HUB_OFFLINE:
        raise LocalEntryNotFoundError("HF_HUB_OFFLINE is set")
    url = hf_hub_url(file.repo, file.file, revision=file.revision, repo_type=file.kind)
    found = get_hf_file_metadata(url)
    if found.etag is None or not SHA256.fullmatch(found.etag):
        return
    folder = repo_folder_name(repo_id=file.repo, repo_type=file.kind)
    cache = Path(constants.HF_HUB_CACHE)
    blob = cache / folder / "blobs" / found.etag
    lock = cache / ".locks" / folder / f"{found.etag}.lock"  # the library's own
    lock.parent.mkdir(parents=True, exist_ok=True)
    token = build_hf_headers().get("authorization")
    wanted = Download(url, name=blob.name, size=found.size, sha256=found.etag)
    with WeakFileLock(lock), _bar(file.file) as progress:
        if not blob.exists():
            headers = {"Authorization": token} if token else {}
            download_file(wanted, blob, progress, threading.Event(), headers=headers)


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """The library's progress bar, which `HF_HUB_DISABLE_PROGRESS_BARS` turns off."""
    from huggingface_hub.utils import tqdm

    with tqdm(desc=title, unit="B", unit_scale=True) as bar:

        def progress(name: str, done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


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
    expected = file.sha256 or (blob if SHA256.fullmatch(blob) else "")
    if expected and file_sha256(path) != expected:
        raise EncoderError(
            f"{name}: {path} is damaged (its sha256 is not {expected}): delete {path.resolve()} "
            "and run again"
        )
