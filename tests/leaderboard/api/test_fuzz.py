"""Schemathesis over the whole API: no input gives a server error, of strangers or of a maintainer
who has an upload and a submission."""

import os
import tempfile
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from screening_here import ScreeningHere

from leaderboard.accounts.people import create_token, create_user
from leaderboard.app import create_app
from leaderboard.db import Role, Submission, Upload
from leaderboard.settings import load_settings

EXAMPLES = int(os.environ.get("SSL_BENCH_FUZZ_EXAMPLES", "6"))  # per address; more by hand

_home = tempfile.TemporaryDirectory(prefix="ssl-bench-fuzz-")
MANY = 1_000_000
app = create_app(
    load_settings(
        home=Path(_home.name),
        requests_per_minute=MANY,
        attempts_per_hour=MANY,
        checks_per_hour=MANY,
        _env_file=None,
    )
)
app.state.screening = ScreeningHere(app.state.settings)
with app.state.writing.begin() as _session:
    _user = create_user(_session, "fuzz", Role.MAINTAINER, password="correct horse battery")
    _, TOKEN = create_token(_session, _user, "fuzz", ["submit", "maintain"], 1)
    _upload = Upload(
        owner_id=_user.id, kind="onnx", file_name="m.onnx", size=10**6, sha256="0" * 64
    )
    _submission = Submission(owner_id=_user.id, kind="onnx", name="mine", modality="audio")
    _session.add_all([_upload, _submission])
    _session.flush()
    KNOWN = {"upload_id": _upload.public_id, "submission_id": _submission.public_id}
schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)


BOUNDS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
)


@schema.parametrize()
@BOUNDS
def test_no_server_error(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=[not_a_server_error])


@schema.include(path_regex="/(me|uploads|submissions)").parametrize()
@BOUNDS
def test_no_server_error_for_a_maintainer(case: schemathesis.Case) -> None:
    for name, value in KNOWN.items():
        if name in case.path_parameters:
            case.path_parameters[name] = value
    body = case.body
    if isinstance(body, dict) and "upload" in body:
        body["upload"] = KNOWN["upload_id"]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    case.call_and_validate(checks=[not_a_server_error], headers=headers)
