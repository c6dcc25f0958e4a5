"""The kernels that execute notebooks: of this interpreter, over IPC, one notebook after another."""

import atexit
import os
import sys
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from papermill.clientwrap import PapermillNotebookClient  # type: ignore[import-untyped]
from papermill.engines import Engine, papermill_engines  # type: ignore[import-untyped]
from traitlets import default

ENGINE = "evalbench"


class Kernel(AsyncKernelManager):
    """The running interpreter over IPC: no installed kernelspec is asked, no port is opened."""

    @default("transport")
    def _ipc(self) -> str:
        return "ipc" if os.name == "posix" else "tcp"

    @default("connection_file")
    def _own_file(self) -> str:
        # Sockets are named after this file, and a socket's name must be short.
        return str(Path(_make_folder().name, f"{uuid.uuid4().hex[:12]}.json"))

    @property
    def kernel_spec(self) -> KernelSpec:
        """How to start the interpreter that runs this."""
        command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher"]
        # What lies in the folder that somebody happens to be in must not stand in for a package.
        own = ["--InteractiveShellApp.ignore_cwd=True", "--HistoryManager.hist_file=:memory:"]
        own += ["--InteractiveShellApp.exec_lines=import evalbench.snapshot"]  # takes a second
        return KernelSpec(argv=[*command, *own, "-f", "{connection_file}"], language="python")


@cache
def _make_folder() -> TemporaryDirectory[str]:
    """Make this process's folder of sockets, which nobody else may enter and which ends with it."""
    return TemporaryDirectory(prefix="evalbench-", ignore_cleanup_errors=True)


_IDLE: list[Kernel] = []
"""A kernel that has imported what notebooks need, and waits for the next one of this process."""


def start_kernel() -> None:
    """Start a kernel for the next notebook, unless one waits; it gets ready by itself."""
    if not _IDLE:
        kernel = Kernel()
        run_sync(kernel.start_kernel)()
        _IDLE.append(kernel)


@atexit.register
def _end_kernels() -> None:
    while _IDLE:
        run_sync(_IDLE.pop().shutdown_kernel)(now=True)


class _Client(PapermillNotebookClient):
    """Runs a notebook in a kernel that is emptied first, in this process's folder and variables."""

    def papermill_execute_cells(self) -> None:
        place = f"os.chdir({str(Path.cwd())!r}); os.environ.clear()"
        new = f"import os; {place}; os.environ.update({dict(os.environ)!r}); get_ipython().reset()"
        self.wait_for_reply(self.kc.execute(new, silent=True, store_history=False))
        super().papermill_execute_cells()


class _Engine(Engine):
    """Keeps the kernel of a notebook that ended well for the next."""

    @classmethod
    def execute_managed_notebook(
        cls, manager: Any, kernel_name: str, *, on_cell_complete: Callable[..., None], **_: object
    ) -> None:
        start_kernel()
        kernel = _IDLE.pop()
        how = {"kernel_name": kernel_name, "on_cell_complete": on_cell_complete}
        client = _Client(manager, km=kernel, startup_timeout=60, **how)
        try:
            client.execute()
        except BaseException:
            run_sync(kernel.shutdown_kernel)(now=True)
            raise
        finally:
            client.kc and client.kc.stop_channels()
        _IDLE.append(kernel)


papermill_engines.register(ENGINE, _Engine)
