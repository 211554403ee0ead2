"""The stages in order, what each one's result depends on, and so what a resume may skip."""

from mwalimu.pipeline.inputs import Inputs, read_inputs
from mwalimu.pipeline.stages import Pipeline

__all__ = ["Inputs", "Pipeline", "read_inputs"]
