"""Operate: is production well, and did we make it better.

:mod:`~evalbench.operate.evidence` gathers what a report rests on, from stores at pinned versions;
:mod:`~evalbench.operate.impact` turns it into rates, and into what each release changed;
:mod:`~evalbench.operate.wording` says both in sentences.
"""
