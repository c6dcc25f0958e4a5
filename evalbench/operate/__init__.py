"""Operate: is production well, and did we make it better.

:mod:`~evalbench.operate.coverage` counts what the lake holds;
:mod:`~evalbench.operate.evidence` gathers what a report rests on, and what is missing;
:mod:`~evalbench.operate.impact` turns it into rates, and into what each release changed;
:mod:`~evalbench.operate.issues` follows failures until a fix is shown, and
:mod:`~evalbench.operate.scorecard` holds every metric to what its owner said.
"""
