"""What this machine can do, what is missing, what to install."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

EXTRAS = {
    "matplotlib": "eval",
    "sacrebleu": "eval",
    "rouge_score": "eval",
    "fastjsonschema": "schema",
    "uvloop": "fast",
    "py3langid": "curate",
    "azure": "azure",
    "bitsandbytes": "qlora",
    "phonenumbers": "curate",
    "stdnum": "curate",
    "sklearn": "curate",
    "ray": "ray",
}
CORE = ("torch", "transformers", "peft", "safetensors", "tokenizers", "aiohttp", "pyarrow")


def findings() -> list[str]:
    """One line a fact; a line that needs an action starts with '!'."""
    return [*_machine(), *_packages(), *_formats(), *_accelerator(), *_keys()]


def _machine() -> list[str]:
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"  python {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"  {os.cpu_count()} cores, {memory_gib:.0f} GiB memory, {free_gib:.0f} GiB free disk here",
    ]
    if free_gib < 5:
        lines.append("! less than 5 GiB of free disk: checkpoints may not fit")
    return lines


def _packages() -> list[str]:
    lines = []
    for package in CORE:
        try:
            lines.append(f"  {package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"! {package} is missing: pip install mwalimu")
    lines += [
        f"! {module} is missing: pip install 'mwalimu[{extra}]'"
        for module, extra in EXTRAS.items()
        if find_spec(module) is None
    ]
    return lines


def _formats() -> list[str]:
    """What a student can be exported to here."""
    from mwalimu.export.installed import missing_modules, to_install
    from mwalimu.runtimes import FORMATS

    lines = []
    for format_ in FORMATS:
        if missing := missing_modules(format_):
            lines.append(f"! export to {format_} lacks {', '.join(missing)}: {to_install(format_)}")
        else:
            lines.append(f"  export to {format_}: installed")
    return lines


def _accelerator() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return [
            f"  no CUDA device: training runs on the CPU with {torch.get_num_threads()} threads"
        ]
    return [
        f"  {torch.cuda.get_device_name(i)}, "
        f"{torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB"
        for i in range(torch.cuda.device_count())
    ]


def _keys() -> list[str]:
    """Which teachers' keys are in the environment; never their values."""
    from mwalimu.registry import load

    routes = [route for model in load().values() for route in model.routes]
    names = sorted({route.api_key_env for route in routes if route.api_key_env})
    found = [name for name in names if os.environ.get(name)]
    return [f"  keys of hosted teachers that are set: {', '.join(found) or 'none'}"]
