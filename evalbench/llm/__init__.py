"""The only module that talks to models: LiteLLM, bounded in time, calls, tokens and dollars.

A model is named as LiteLLM names it: ``gpt-4o-mini``, ``anthropic/...``, ``ollama_chat/...``; an
OpenAI-compatible server is ``hosted_vllm/...`` (at ``HOSTED_VLLM_API_BASE``), the quickest route
that counts tokens.
"""

from evalbench.llm.calls import UNLIMITED as UNLIMITED
from evalbench.llm.calls import Limits as Limits
from evalbench.llm.calls import Reply as Reply
from evalbench.llm.calls import Request as Request
from evalbench.llm.calls import Spent as Spent
from evalbench.llm.calls import Tries as Tries
from evalbench.llm.calls import complete as complete
from evalbench.llm.calls import complete_many as complete_many
from evalbench.llm.models import embed as embed
from evalbench.llm.models import find_window as find_window
from evalbench.llm.models import load_litellm as load_litellm
from evalbench.llm.models import register_price as register_price
