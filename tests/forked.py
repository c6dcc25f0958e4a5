"""Processes that a test may kill, forked off one that has loaded what they need."""

import multiprocessing
import os
import signal

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # as `llm` loads it: from no network
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    "pytest numpy deltalake litellm evalbench.label evalbench.evaluate.score evalbench.store.ledger"
    " evalbench.observe.ingestion evalbench.report.runbook evalbench.snapshot".split()
)


def start(function, *arguments, **named):
    """Call a function in a process of its own."""
    process = CONTEXT.Process(target=function, args=arguments, kwargs=named)
    process.start()
    return process


def kill_at(moment, owner, *names):
    """Let this process die before or after a call, such as "after commit 2", the second one."""

    def watch(name, original):
        calls = []

        def wrapped(*arguments, **options):
            calls.append(1)
            if moment == f"before {name} {len(calls)}":
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **options)
            if moment == f"after {name} {len(calls)}":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    for name in names:
        setattr(owner, name, watch(name, getattr(owner, name)))
