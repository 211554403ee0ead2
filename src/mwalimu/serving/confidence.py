"""How sure the student is of an answer: one number in 0..1, compared with `--below`.

The probability of the whole answer, its end included: what the evaluation publishes as
`confidence`, so that a threshold found there means the same here. docs/cascade.md has the
measurement against the mean and the least sure token.
"""

from __future__ import annotations

import math

from mwalimu.serving.completion import Completion


def confidence(answer: Completion) -> float:
    """exp(sum of log p(token)); 0 for an answer that was cut, whose end nobody knows."""
    if answer.finish_reason != "stop":
        return 0.0
    return math.exp(min(0.0, math.fsum(answer.token_log_probs)))
