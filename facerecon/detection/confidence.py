"""How sure it is that a candidate is a face.

A logistic rule on three observations: the log-odds of MTCNN's last network, the score of MediaPipe's detector on a close
crop, and whether dense landmarks agree with the place. Fitted on 545 faces of in-the-wild crops (a third turned, a quarter
masked) against 53 candidates from 402 pictures without a face (noise, drawn shapes, screenshots, shuffled pieces of faces),
then made lenient where MediaPipe's detector is blind: its low scores say little, since it sees few profiles. On those crops
541 of the 545 faces score over `ACCEPTED`, and 1 of the 53 others does. It measures "is this a face", not how good a fit
will be.
"""

from __future__ import annotations

import math

ACCEPTED = 0.5
"""Candidates below this are not reported."""
CERTAIN = 0.9
"""With one face over this, a photo is taken to be the right way up."""

_BIAS, _LOGIT, _SHORT_RANGE, _DENSE = -2.3, 0.75, 2.0, 1.25


def evidence(logit: float, short_range: float, dense: bool) -> float:
    """Log-odds that a candidate is a face.

    Args:
        logit: log-odds of MTCNN's last network; counted from -4 to 8.
        short_range: score in [0, 1] of MediaPipe's detector; counted from 0.4 to 0.98.
        dense: dense landmarks agree with the place.
    """
    score = min(max(short_range, 0.4), 0.98)
    return (_BIAS + _LOGIT * min(max(logit, -4.0), 8.0) + _SHORT_RANGE * math.log(score / (1 - score)) + _DENSE * dense)


def probability(log_odds: float) -> float:
    """The probability in (0, 1) with these log-odds."""
    return 1 / (1 + math.exp(-log_odds))


def rank(logit: float, short_range: float, dense: bool) -> float:
    """Log-odds by which the ways round of one face compare: as `evidence`, without its ceilings, which would make ties."""
    score = min(max(short_range, 0.01), 0.999)
    return _LOGIT * logit + _SHORT_RANGE * math.log(score / (1 - score)) + 2 * _DENSE * dense
