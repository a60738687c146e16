"""Published weights from the Hugging Face hub: at one commit, resumable, checked, cached.

`huggingface_hub` finds, authorises and caches; the bytes come by `benchmark.download`, because a
download of the library that is killed begins again. `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and
`HF_HUB_OFFLINE` mean what they do there.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.catalog import EncoderCard, HubFile
from benchmark.distribution import Download
from benchmark.download import Progress, download_file
from benchmark.errors import EncoderError, SslBenchError
from benchmark.paths import file_sha256
from benchmark.pins import keep, pin_path, read_pin

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

SHA256, SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


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
    return PublishedFile(path, _snapshot(path, card.hub))


def fetch(file: HubFile, name: str, *, weights: bool = True) -> Path:
    """The local copy of a published file, downloaded if it is not there yet.

    A card that names a branch keeps the commit that was downloaded first (`benchmark.pins`).
    weights: the file could be passed by --checkpoint as well; a vocabulary could not.

    Raises:
        EncoderError: unreachable, gated, withdrawn or damaged; says which file, from where, and
            how to pass a copy of it.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    page, version = _page(file), f"revision {file.revision}"
    by_hand = (
        "or pass a copy of the file with --checkpoint FILE" if weights else "or copy its cache"
    )
    untrained = ", or use --init random for the untrained architecture" if weights else ""
    pin = None if file.pinned else read_pin(file)
    if pin is not None:
        version += f", kept at commit {pin.commit} by {pin_path(file)}"
    try:
        at = replace(file, revision=pin.commit if pin else _commit(file))
        path = _cached(at)
        if path is None:
            if not _reachable():
                raise LocalEntryNotFoundError("no network")  # the library would try for long
            path = _download(at)
    except GatedRepoError:
        raise EncoderError(
            f"{name}: {file.file} is gated; accept the licence at {page}, then set HF_TOKEN, "
            f"{by_hand}"
        ) from None
    except LocalEntryNotFoundError:
        gated = f"; accept the licence at {page} and set HF_TOKEN first" if file.gated else ""
        raise EncoderError(
            f"{name} needs {file.file} of {page} ({version}), which is not here and "
            f"the hub cannot be reached: connect once{gated}, {by_hand}{untrained}"
        ) from None
    except (HfHubHTTPError, OSError, ValueError, SslBenchError) as error:
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(
            f"{name}: {file.file} of {page} ({version}) cannot be downloaded "
            f"({reason}); try again, {by_hand}"
        ) from None
    received = file_sha256(path)
    _verify(path, received, file, name)
    if not file.pinned:
        _keep_to_pin(path, received, file, at.revision, name)
    return path


def newer_commit(file: HubFile, have: PublishedFile) -> str | None:
    """The commit at which the hub now offers another file than `have`, where the card names a
    branch; None where nothing changed, the card names a commit, or the hub cannot be asked."""
    from huggingface_hub.errors import HfHubHTTPError

    if file.pinned or not _reachable():
        return None
    try:
        found = _ask(file, timeout=5)
    except (HfHubHTTPError, OSError, ValueError):
        return None
    unchanged = found.commit_hash == have.commit or found.etag == have.path.resolve().name
    return None if unchanged else found.commit_hash


def _commit(file: HubFile) -> str:
    """The commit that a branch stands for: by the hub, or offline by the hub's own cache."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if file.pinned:
        return file.revision
    here = _cached(file)
    try:
        commit = _ask(file).commit_hash if _reachable() else None
    except (HfHubHTTPError, OSError):
        if here is None:
            raise
        commit = None
    if commit is None and here is None:
        raise LocalEntryNotFoundError("no network")
    return commit or _snapshot(here, file)  # type: ignore[arg-type]


def _ask(file: HubFile, timeout: float = 30) -> HfFileMetadata:
    """What the hub says of a file, without getting it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(file.repo, file.file, revision=file.revision, repo_type=file.kind)
    with one_kind_of_error():
        return get_hf_file_metadata(url, timeout=timeout)


@contextmanager
def one_kind_of_error() -> Iterator[None]:
    """An `OSError` instead of what the HTTP client raises, which is another with every version."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, OSError, ValueError):
        raise
    except Exception as error:
        raise ConnectionError(f"no connection: {error}") from error


def _cached(file: HubFile) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        file.repo, file.file, revision=file.revision, repo_type=file.kind
    )
    return Path(found) if isinstance(found, str) else None


def _snapshot(path: Path, file: HubFile) -> str:
    """The commit of a file in the hub's cache."""
    return path.parents[len(Path(file.file).parts) - 1].name


def _keep_to_pin(path: Path, received: str, file: HubFile, commit: str, name: str) -> None:
    """Pin what came first; refuse anything else later."""
    keep(file, commit, received)
    pin = read_pin(file)
    if pin is None or (pin.commit, pin.files.get(file.file)) != (commit, received):
        raise EncoderError(
            f"{name}: {path} is not the {file.file} of {file.repo} that was first downloaded here "
            f"({pin_path(file)} names its commit and sha256): delete {path.resolve()} and run "
            "again; to take the new one, delete the pin as well"
        )


def _page(file: HubFile) -> str:
    return f"https://huggingface.co/{'datasets/' if file.kind == 'dataset' else ''}{file.repo}"


def _download(file: HubFile) -> Path:
    """Bring a file of one commit into the hub's cache.

    Small files (vocabularies) have no sha256 as their name there; they are left to the library.
    """
    from huggingface_hub import constants, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    found = _ask(file)
    if found.etag is not None and SHA256.fullmatch(found.etag):
        folder = repo_folder_name(repo_id=file.repo, repo_type=file.kind)
        cache = Path(constants.HF_HUB_CACHE)
        blob = cache / folder / "blobs" / found.etag
        lock = cache / ".locks" / folder / f"{found.etag}.lock"  # the library's own
        lock.parent.mkdir(parents=True, exist_ok=True)
        token = build_hf_headers().get("authorization")
        url = hf_hub_url(file.repo, file.file, revision=file.revision, repo_type=file.kind)
        wanted = Download(url, name=blob.name, size=found.size, sha256=found.etag)
        with WeakFileLock(lock), _bar(file.file) as progress:
            if not blob.exists():
                headers = {"Authorization": token} if token else {}
                download_file(wanted, blob, progress, threading.Event(), headers=headers)
    return Path(hf_hub_download(file.repo, file.file, revision=file.revision, repo_type=file.kind))


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
    """Whether the hub may be asked and its name can be resolved; behind a proxy that is not ours
    to ask."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return False
    host = urlsplit(ENDPOINT)
    if getproxies():
        return True
    try:
        socket.getaddrinfo(host.hostname, host.port or 443)
    except OSError:
        return False
    return True


def _verify(path: Path, received: str, file: HubFile, name: str) -> None:
    """Compare with the recorded checksum, else with the hub's own, the name of its blob: sha256 of
    a large file, git's sha1 of a small one."""
    blob = path.resolve().name
    if file.sha256 or SHA256.fullmatch(blob):
        kind, expected, found = "sha256", file.sha256 or blob, received
    elif SHA1.fullmatch(blob):
        content = path.read_bytes()
        header = f"blob {len(content)}\0".encode()
        kind, expected, found = "git sha1", blob, hashlib.sha1(header + content).hexdigest()
    else:
        return
    if found != expected:
        raise EncoderError(
            f"{name}: {path} is damaged (its {kind} is not {expected}): delete {path.resolve()} "
            "and run again"
        )
