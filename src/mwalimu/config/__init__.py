"""`distill.yaml`: typed, loaded, overridden and validated once. Imports no torch."""

from mwalimu.config.loading import apply_override, build_config, dump_config, load_config
from mwalimu.config.needs import (
    capture_temperature,
    learns_from_teacher,
    needed_signals,
    teacher_layers,
)
from mwalimu.config.objective import (
    DIVERGENCES,
    ENCODINGS,
    PART_KINDS,
    OnPolicyConfig,
    PartConfig,
    Schedule,
    Scheduled,
    SignalsConfig,
    goes_by_row,
)
from mwalimu.config.redact import public_config, secrets_of
from mwalimu.config.settings import (
    TASKS,
    BudgetConfig,
    Config,
    DataConfig,
    EnsembleConfig,
    EvaluateConfig,
    GenerateConfig,
    Kind,
    Task,
    TeacherConfig,
)
from mwalimu.config.student import PruneConfig, StudentConfig
from mwalimu.config.training import OUTSIDE_THE_RESULT, FinetuneConfig

__all__ = [
    "DIVERGENCES",
    "ENCODINGS",
    "OUTSIDE_THE_RESULT",
    "PART_KINDS",
    "TASKS",
    "BudgetConfig",
    "Config",
    "DataConfig",
    "EnsembleConfig",
    "EvaluateConfig",
    "FinetuneConfig",
    "GenerateConfig",
    "Kind",
    "OnPolicyConfig",
    "PartConfig",
    "PruneConfig",
    "Schedule",
    "Scheduled",
    "SignalsConfig",
    "StudentConfig",
    "Task",
    "TeacherConfig",
    "apply_override",
    "build_config",
    "capture_temperature",
    "dump_config",
    "goes_by_row",
    "learns_from_teacher",
    "load_config",
    "needed_signals",
    "public_config",
    "secrets_of",
    "teacher_layers",
]
