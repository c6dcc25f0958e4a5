"""Other tools judge the questions of ``judge.py``, each by its own documented way.

Run by the interpreter of ``.venv/peers``, where ``peers.txt`` is installed: its pins are not ours.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

CRITERION = "The assistant gives a tracking number that no tool returned."
os.environ |= {
    "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
    "DEEPEVAL_NO_INSPECT_PROMPT": "1",
    "RAGAS_DO_NOT_TRACK": "true",
}


def prepare_inspect_ai(questions, concurrency):
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, ModelOutput, get_model
    from inspect_ai.scorer import model_graded_qa
    from inspect_ai.solver import solver

    @solver
    def recorded():
        async def solve(state, generate):
            said = state.metadata["answer"]
            state.output = ModelOutput.from_content("recorded", said)
            return state

        return solve

    config = GenerateConfig(max_connections=concurrency, max_retries=0)
    judge = get_model("openai/judge-1", config=config, responses_api=False)

    def ask_all(n):
        samples = [
            Sample(input=asked, target=CRITERION, metadata={"answer": said})
            for asked, said in questions[:n]
        ]
        [log] = eval(
            Task(MemoryDataset(samples), solver=recorded(), scorer=model_graded_qa(model=judge)),
            model="none/none",
            max_samples=concurrency,
            display="none",
            log_dir="logs",
        )
        return sum(len(sample.scores) for sample in log.samples)

    return ask_all


def prepare_deepeval(questions, concurrency):
    from deepeval import evaluate
    from deepeval.evaluate import AsyncConfig, CacheConfig, DisplayConfig
    from deepeval.metrics import GEval
    from deepeval.models import LocalModel
    from deepeval.test_case import LLMTestCase, SingleTurnParams

    parameters = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT]
    model = LocalModel("judge-1", api_key="none", base_url=os.environ["OPENAI_BASE_URL"])

    def ask_all(n):
        judge = GEval(
            "invented number",
            evaluation_params=parameters,
            evaluation_steps=[CRITERION],
            model=model,
        )
        result = evaluate(
            [LLMTestCase(input=asked, actual_output=said) for asked, said in questions[:n]],
            [judge],
            async_config=AsyncConfig(max_concurrent=concurrency, throttle_value=0),
            display_config=DisplayConfig(
                show_indicator=False, print_results=False, inspect_after_run=False
            ),
            cache_config=CacheConfig(write_cache=False),
        )
        return sum(each.metrics_data[0].score is not None for each in result.test_results)

    return ask_all


def prepare_ragas(questions, concurrency):
    from langchain_openai import ChatOpenAI
    from ragas import EvaluationDataset, RunConfig, aevaluate
    from ragas.metrics import AspectCritic

    model, runner = ChatOpenAI(model="judge-1", max_retries=0), asyncio.Runner()

    def ask_all(n):
        rows = [{"user_input": asked, "response": said} for asked, said in questions[:n]]
        asking = aevaluate(
            EvaluationDataset.from_list(rows),
            [AspectCritic(name="invented_number", definition=CRITERION)],
            llm=model,
            run_config=RunConfig(max_workers=concurrency, max_retries=1),
            show_progress=False,
        )
        result = runner.run(asking)
        return sum(score in (0, 1) for score in result["invented_number"])

    return ask_all


PEERS = {
    "inspect_ai": prepare_inspect_ai,
    "deepeval": prepare_deepeval,
    "ragas": prepare_ragas,
}


def work(peer, concurrency, questions):
    """Warm up, read how many to ask, ask; what a peer prints goes to the standard error."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(Path(questions).read_text())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        ask_all = PEERS[peer](asked, int(concurrency))
        ask_all(int(concurrency))
        print("ready", file=told, flush=True)
        n = int(sys.stdin.readline())
        start, used = time.perf_counter(), time.process_time()
        judged = ask_all(n)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if judged == n:
            print(json.dumps([seconds, used, memory]), file=told, flush=True)
        os._exit(0)  # without what a peer does when it ends


if __name__ == "__main__" and sys.argv[1:]:
    work(*sys.argv[1:])
