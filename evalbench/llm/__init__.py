"""The only module that talks to models: LiteLLM, bounded in time, calls, tokens and dollars.

A model is named as LiteLLM names it: ``gpt-4o-mini``, ``anthropic/...``, ``ollama_chat/...``; for
an OpenAI-compatible server ``hosted_vllm/...`` (at ``HOSTED_VLLM_API_BASE``) or, LiteLLM's quickest
route, ``aiohttp_openai/...`` (at ``OPENAI_API_BASE``). ``offline/rubric`` needs neither key nor
network: it is an offline stand-in that looks for a rubric's words, not a judge.
"""

from evalbench.llm.budget import Limits, Spent
from evalbench.llm.calls import complete, complete_many, embed, forecast, run
from evalbench.llm.client import PRICES, find_window, register_price
from evalbench.llm.messages import Reply, Request, Tries

__all__ = [
    "PRICES",
    "Limits",
    "Reply",
    "Request",
    "Spent",
    "Tries",
    "complete",
    "complete_many",
    "embed",
    "find_window",
    "forecast",
    "register_price",
    "run",
]
