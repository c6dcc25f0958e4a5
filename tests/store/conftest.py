"""The store is tested on a laptop's workspace and on a team's: a bucket, and PostgreSQL."""

import make
import pytest

from evalbench.store.workspace import open_workspace


@pytest.fixture(params=["folder and SQLite", "bucket and PostgreSQL"])
def workspace(request, tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    if request.param == "bucket and PostgreSQL":
        options, url = map(request.getfixturevalue, ("object_store", "postgresql_url"))
        stores = {"lake": f"s3://traces/{url[-32:]}", "ledger": url}
        (folder / "evalbench.toml").write_text(make.settings(options, **stores))
    return open_workspace(folder, user="tester")
