"""How much memory a training takes, worked out from shapes and settings: no torch, no weights.

    reading     a shape out of config.json
    model       a decoder: its sizes, and in how many bytes its numbers are
    setting     what else it depends on
    weights     what stays for the whole training
    layer       what a decoder layer keeps for its backward pass, and needs on the way
    head        what the loss over the vocabulary needs
    peak        the moments of a step that can be the fullest, in terms; the fullest is the answer
    fitting     what to change so that it fits; advice: in words
    machine     how much memory there is

A formula counts the tensors that are alive, as torch keeps them: on CUDA that is what
torch.cuda.max_memory_allocated measures, on a CPU the process beyond its libraries.
"""

from mwalimu.finetune.footprint.fitting import LIBRARIES, Change, fits, least_change, needed
from mwalimu.finetune.footprint.machine import (
    free_memory_of,
    gib,
    give_memory_back,
    memory_of,
    parse_memory,
    training_device,
)
from mwalimu.finetune.footprint.model import Model, frozen_model
from mwalimu.finetune.footprint.peak import Footprint, Terms, footprint
from mwalimu.finetune.footprint.reading import pruned, shape_of
from mwalimu.finetune.footprint.setting import Device, Lengths, Setting
from mwalimu.registry import Shape

__all__ = [
    "LIBRARIES",
    "Change",
    "Device",
    "Footprint",
    "Lengths",
    "Model",
    "Setting",
    "Shape",
    "Terms",
    "fits",
    "footprint",
    "free_memory_of",
    "frozen_model",
    "gib",
    "give_memory_back",
    "least_change",
    "memory_of",
    "needed",
    "parse_memory",
    "pruned",
    "shape_of",
    "training_device",
]
