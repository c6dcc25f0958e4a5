"""The only module that talks to models: LiteLLM, bounded in time, calls, tokens and dollars.

A model is named as LiteLLM names it: ``gpt-4o-mini``, ``anthropic/...``, ``ollama_chat/...``; an
OpenAI-compatible server is ``hosted_vllm/...`` (at ``HOSTED_VLLM_API_BASE``), the quickest route
that counts tokens.
"""

from evalbench.llm.calls import UNLIMITED, Limits, Reply, Request, Spent, Tries

from evalbench.llm.calls import complete, complete_many  # isort: skip
from evalbench.llm.models import embed, find_window, load_litellm, register_price

__all__ = ["UNLIMITED", "Limits", "Reply", "Request", "Spent", "Tries", "complete"]
__all__ += ["complete_many", "embed", "find_window", "load_litellm", "register_price"]
