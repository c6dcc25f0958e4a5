"""Loads what calls need when it is imported: for the process from which others are forked."""

import evalbench.quick_jsonschema  # noqa: F401
from evalbench.llm.client import load_litellm

load_litellm()
