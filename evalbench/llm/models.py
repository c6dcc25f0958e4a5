"""LiteLLM, loaded when it is first used; what it knows of models; and embeddings."""

import gc
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from types import ModuleType

import numpy as np

from evalbench.errors import ModelError

EMBEDDED_AT_ONCE = 256


@cache
def load_litellm() -> ModuleType:
    """Import LiteLLM with its local price table, without telemetry, ``.env`` or callbacks."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = True  # a model without structured output is held to the schema by us
    gc.freeze()  # else every full collection walks all of LiteLLM: a tenth of a run's time
    return litellm


def register_price(model: str, *, prompt: float, completion: float) -> None:
    """Tell the price of a model that LiteLLM's table lacks, in dollars per million tokens."""
    litellm = load_litellm()
    prices = {"input_cost_per_token": prompt / 1e6, "output_cost_per_token": completion / 1e6}
    for cached in ("creation", "read"):  # else LiteLLM warns that they are missing
        prices[f"cache_{cached}_input_token_cost"] = prompt / 1e6
    about = {"litellm_provider": litellm.get_llm_provider(model)[1], "mode": "chat"}
    litellm.register_model({model: prices | about})


def find_window(model: str) -> int | None:
    """Return the tokens that a model reads at most; None where LiteLLM's table does not say."""
    with suppress(Exception):  # LiteLLM raises bare exceptions for a model it does not know
        return load_litellm().get_model_info(model).get("max_input_tokens")
    return None


def embed(texts: Sequence[str], *, model: str) -> np.ndarray:
    """Embed texts: float32, (len(texts), dimensions); ModelError where the provider does not."""
    rows: list[list[float]] = []
    for start in range(0, len(texts), EMBEDDED_AT_ONCE):
        batch = list(texts[start : start + EMBEDDED_AT_ONCE])
        try:
            answer = load_litellm().embedding(model=model, input=batch, max_retries=2)
        except Exception as error:
            raise ModelError(f"{model}: no embeddings: {error}") from error
        rows += [row["embedding"] for row in answer.data]
    return np.array(rows, dtype=np.float32)
