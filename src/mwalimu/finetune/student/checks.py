"""What config.json alone tells of a student that cannot be, before anything is paid for."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.config import StudentConfig
from mwalimu.data.quantised import require_quantiser
from mwalimu.errors import StudentError
from mwalimu.finetune.student.adapters import check_targets
from mwalimu.finetune.student.cutting import cut
from mwalimu.finetune.student.importance import Importance
from mwalimu.finetune.student.keeping import choose_kept
from mwalimu.finetune.student.loading import cannot_load, check_folder, has_no_weights
from mwalimu.finetune.student.parts import freeze, parameters_of


def check_student(config: StudentConfig) -> None:
    """Reads no weights, and nothing at all where no part of the model is named.

    Raises:
        StudentError: there is no such part or matrix, or the model cannot be made so small.
        MissingDependency: the base is to be quantised, and there is nothing to do it with.
    """
    require_quantiser(config.bits)
    if not config.names_parts:
        return
    model = blueprint(config)
    freeze(model, config.freeze)
    for name in config.unfreeze:
        parameters_of(model, name)
    check_targets(model, config.lora_targets)


def blueprint(config: StudentConfig) -> Any:
    """The student as it will be, on the meta device: modules and sizes, no weights.

    Raises StudentError.
    """
    check_folder(config.model)
    options = {"trust_remote_code": config.trust_remote_code}
    try:
        architecture = AutoConfig.from_pretrained(config.model, **options)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(architecture, **options)
    except Exception as error:  # of a broken config
        raise cannot_load(config.model, "the student", error) from error
    if config.prune is None:
        return model
    if has_no_weights(config.model):
        raise StudentError(
            "has no weights of which some could stay",
            where=config.model,
            fix="prune a trained model, or write the smaller sizes into its config.json",
        )
    kept = choose_kept(config.prune, architecture, Importance.unknown(architecture))
    return cut(model, kept, model.dtype)
