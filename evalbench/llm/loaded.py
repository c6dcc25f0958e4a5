"""Loads what calls need when it is imported: for the process from which others are forked."""

from evalbench.llm.client import load_litellm

load_litellm()
