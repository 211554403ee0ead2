"""What a job will take, before it takes it: requests, tokens, dollars, minutes, memory.

    plan          who is asked what, from the config
    survey        one pass over the rows: how many, how long, what the answer store has already
    tokens        counting, with the best tokenizer that is on this machine
    assumptions   what a request takes, as far as it can be known without asking
    probe         a few rows really asked; `measured` makes rates of what they took
    teacher_side  rates x rows = tokens, dollars, minutes; `training_side` for the student
    memory_side   what training takes of memory, out of `finetune.footprint`, and whether it fits
    result        the estimate as people and as programs read it

Every number is a range (`spans`) and says what it rests on; an unknown price is unknown, not zero.
"""

from mwalimu.estimate.estimating import estimate
from mwalimu.estimate.memory_side import Room
from mwalimu.estimate.result import Estimate

__all__ = ["Estimate", "Room", "estimate"]
