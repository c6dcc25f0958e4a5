"""Have we seen them all? Failure modes are species, reviewed sessions the sampling effort."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ._arguments import Floats, check_level
from ._intervals import RESAMPLES, central_interval
from .estimate import Estimate
