"""`distill.yaml`: typed, loaded, overridden and validated once. Imports no torch."""

from mwalimu.config.auto import AutoConfig
from mwalimu.config.buying import ActiveConfig
from mwalimu.config.curation import (
    CHECKS,
    CheckName,
    CopiedConfig,
    CurateConfig,
    LanguageConfig,
    LengthConfig,
)
from mwalimu.config.evaluation import (
    OUTSIDE_THE_ANSWERS,
    EvaluateConfig,
    LoadConfig,
    RequireConfig,
)
from mwalimu.config.export import (
    PRECISIONS,
    ExportConfig,
    ExportFinishConfig,
    ExportFormat,
    ExportRequireConfig,
    Precision,
    TargetConfig,
)
from mwalimu.config.loading import (
    apply_override,
    build_config,
    dump_config,
    load_config,
    put,
)
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
from mwalimu.config.preparation import BalanceConfig, PrepareConfig, SelectConfig
from mwalimu.config.prompts import PROMPT_FILES, PromptsConfig
from mwalimu.config.redact import holds_secrets, public_config, secrets_of
from mwalimu.config.scale import ScaleConfig
from mwalimu.config.settings import (
    TASKS,
    BudgetConfig,
    Config,
    DataConfig,
    EnsembleConfig,
    GenerateConfig,
    Task,
)
from mwalimu.config.student import PruneConfig, StudentConfig
from mwalimu.config.teacher import Kind, TeacherConfig
from mwalimu.config.training import OUTSIDE_THE_RESULT, FinetuneConfig, MixtureConfig
from mwalimu.config.tuning import MixConfig, MixtureRangeConfig, RangeConfig, TuneConfig

__all__ = [
    "CHECKS",
    "DIVERGENCES",
    "ENCODINGS",
    "OUTSIDE_THE_ANSWERS",
    "OUTSIDE_THE_RESULT",
    "PART_KINDS",
    "PRECISIONS",
    "PROMPT_FILES",
    "TASKS",
    "ActiveConfig",
    "AutoConfig",
    "BalanceConfig",
    "BudgetConfig",
    "CheckName",
    "Config",
    "CopiedConfig",
    "CurateConfig",
    "DataConfig",
    "EnsembleConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ExportFinishConfig",
    "ExportFormat",
    "ExportRequireConfig",
    "FinetuneConfig",
    "GenerateConfig",
    "Kind",
    "LanguageConfig",
    "LengthConfig",
    "LoadConfig",
    "MixConfig",
    "MixtureConfig",
    "MixtureRangeConfig",
    "OnPolicyConfig",
    "PartConfig",
    "Precision",
    "PrepareConfig",
    "PromptsConfig",
    "PruneConfig",
    "RangeConfig",
    "RequireConfig",
    "ScaleConfig",
    "Schedule",
    "Scheduled",
    "SelectConfig",
    "SignalsConfig",
    "StudentConfig",
    "TargetConfig",
    "Task",
    "TeacherConfig",
    "TuneConfig",
    "apply_override",
    "build_config",
    "capture_temperature",
    "dump_config",
    "goes_by_row",
    "holds_secrets",
    "learns_from_teacher",
    "load_config",
    "needed_signals",
    "public_config",
    "put",
    "secrets_of",
    "teacher_layers",
]
