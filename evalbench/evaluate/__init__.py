"""One evaluator a failure mode, the lightest that detects it.

:mod:`~evalbench.evaluate.spec` writes an evaluator down, frozen at a version;
:mod:`~evalbench.evaluate.checks` are declared and need no model, and
:mod:`~evalbench.evaluate.classifier` learns from labelled sessions. Each says of a
:class:`~evalbench.evaluate.session.Session` what it found, as a
:class:`~evalbench.evaluate.session.Finding`.
"""
