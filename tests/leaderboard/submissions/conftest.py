"""A site that checks files in its own process, people on it, and files to send."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from safetensors.torch import save
from screening_here import ScreeningHere
from sqlalchemy import select

from benchmark.catalog import encoder_card, import_target
from leaderboard.accounts.people import create_token, create_user
from leaderboard.db import Role, User

PASSWORD = "correct horse battery"
ARCHITECTURE = "random-pointnet"


@dataclass
class Person:
    """Somebody with a token, at the API."""

    client: TestClient
    name: str
    token: str

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return self.client.request(method, f"/api/v1{path}", headers=headers, **more)

    def announce(self, data: bytes, kind: str = "checkpoint", name: str = "w.safetensors") -> Any:
        body = {
            "kind": kind,
            "file_name": name,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        return self("POST", "/uploads", json=body)

    def send(self, upload: str, data: bytes, offset: int = 0, **more: Any) -> Any:
        headers = {"Upload-Offset": str(offset)}
        return self("PATCH", f"/uploads/{upload}", content=data, headers=headers, **more)

    def upload(self, data: bytes, kind: str = "checkpoint", name: str = "w.safetensors") -> str:
        answer = self.announce(data, kind, name)
        assert answer.status_code in (200, 201), answer.text
        upload: str = answer.json()["id"]
        if answer.json()["state"] == "complete":
            return upload
        sent = self.send(upload, data)
        assert sent.status_code == 200, sent.text
        return upload

    def submit(self, upload: str, name: str = "mine", **more: Any) -> Any:
        headers = more.pop("headers", {})
        body = {"upload": upload, "name": name, "architecture": ARCHITECTURE, **more}
        return self("POST", "/submissions", json=body, headers=headers)


@pytest.fixture
def open_site(site: FastAPI) -> FastAPI:
    site.state.screening = ScreeningHere(site.state.settings)
    return site


@pytest.fixture
def web(open_site: FastAPI) -> Iterator[TestClient]:
    with TestClient(open_site, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def person(open_site: FastAPI, web: TestClient) -> Callable[..., Person]:
    """`person(name, role)`: an account with a token."""

    def make(name: str, role: Role = Role.SUBMITTER) -> Person:
        with open_site.state.writing.begin() as session:
            user = session.scalar(select(User).where(User.name == name))
            user = user or create_user(session, name, role, password=PASSWORD)
            scopes = ["submit"] if role == Role.SUBMITTER else ["submit", "maintain"]
            _, token = create_token(session, user, "test", scopes, 1)
        return Person(web, name, token)

    return make


@pytest.fixture
def ada(person: Callable[..., Person]) -> Person:
    return person("ada")


@pytest.fixture
def eve(person: Callable[..., Person]) -> Person:
    return person("eve")


@pytest.fixture
def mia(person: Callable[..., Person]) -> Person:
    return person("mia", Role.MAINTAINER)


@pytest.fixture(scope="session")
def weights() -> Callable[[int], bytes]:
    """`weights(seed)`: a checkpoint of a small architecture."""
    card = encoder_card(ARCHITECTURE)

    def make(seed: int = 0) -> bytes:
        torch.manual_seed(seed)
        module = import_target(card.target)(**card.options)
        return save({key: value.clone() for key, value in module.state_dict().items()})

    return make
