"""Pure mathematics: arrays in, an :class:`~evalbench.stats.estimate.Estimate` out.

A judge against people (``alignment``, ``table_alignment``), people against each other
(``agreement``), how often production fails (``failure_rate``, ``corrected_rate``, and
:mod:`evalbench.stats.pooled` for many modes over many releases), whether that changed
(``paired_change``, ``what_moved``), how many cases and which labels
(``smallest_change``, ``labels_for_rate``, ``labels_next``), and what nobody has seen yet
(``unseen_modes``).

Everywhere ``level`` is the nominal coverage of an interval, a float between 0 and 1; ``rng`` the
``numpy.random.Generator`` of the draws; ``groups``, an array as long as the rows, what sessions
share (a user, a task): needed wherever they share one. ``ValueError`` names the argument and the
value it got where a column is empty, of another length than the first or holds other values than
are named, and where an option is unknown or a number out of range.
"""

from .agreement import agreement
from .binary import alignment, mcc, proportion
from .candidates import front_chances, paired_means, shrunken_rates
from .change import Change, benjamini_hochberg, paired_change
from .estimate import Estimate
from .multiclass import table_alignment
from .planning import labels_for_rate, labels_next, mcc_assurance, paired_power, smallest_change
from .rates import UNREAD, Rate, corrected_rate, failure_rate
from .richness import expected_new, sample_coverage, unseen_modes
from .shift import what_moved

__all__ = [
    "UNREAD",
    "Change",
    "Estimate",
    "Rate",
    "agreement",
    "alignment",
    "benjamini_hochberg",
    "corrected_rate",
    "expected_new",
    "failure_rate",
    "front_chances",
    "labels_for_rate",
    "labels_next",
    "mcc",
    "mcc_assurance",
    "paired_change",
    "paired_means",
    "paired_power",
    "proportion",
    "sample_coverage",
    "shrunken_rates",
    "smallest_change",
    "table_alignment",
    "unseen_modes",
    "what_moved",
]
