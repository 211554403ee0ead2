"""The SDK's enumerations, by its names."""

from __future__ import annotations

from enum import StrEnum


class DataGenerationTaskType(StrEnum):
    NLI = "NLI"
    NLU_QA = "NLU_QA"
    CONVERSATION = "CONVERSATION"
    MATH = "MATH"
    SUMMARIZATION = "SUMMARIZATION"


class DataGenerationType(StrEnum):
    LABEL_GENERATION = "label_generation"
    DATA_GENERATION = "data_generation"


class AssetTypes(StrEnum):
    URI_FILE = "uri_file"
    MLFLOW_MODEL = "mlflow_model"
    CUSTOM_MODEL = "custom_model"
