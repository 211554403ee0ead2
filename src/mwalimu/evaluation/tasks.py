"""How a prediction is graded: the rules of `data/grading`, under the name that this room uses."""

from __future__ import annotations

from mwalimu.data.grading import grade as grade
from mwalimu.data.grading import grader_of as grader_of
