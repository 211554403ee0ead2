"""What the help of every command shows at its end: how it is called."""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "mwalimu quickstart                       # a whole job on this machine, in minutes",
        "mwalimu init my-job                      # one of your own: distill.yaml, prompts",
        "mwalimu estimate my-job/distill.yaml     # what it will take; spends nothing",
        "mwalimu run my-job/distill.yaml          # all stages; again to go on",
        "mwalimu --log run.jsonl run my-job/distill.yaml",
    ),
    "quickstart": ("mwalimu quickstart", "mwalimu quickstart --dir elsewhere"),
    "init": ("mwalimu init my-job",),
    "estimate": (
        "mwalimu estimate my-job/distill.yaml",
        "mwalimu estimate my-job/distill.yaml --probe 20 --memory 24GB",
    ),
    "run": (
        "mwalimu run my-job/distill.yaml",
        "mwalimu run my-job/distill.yaml --set finetune.epochs=2 --run runs/second",
        "mwalimu run my-job/distill.yaml --auto --budget 6h,20usd",
    ),
    "synthesise": ("mwalimu synthesise my-job/distill.yaml",),
    "prepare": ("mwalimu prepare my-job/distill.yaml",),
    "generate": (
        "mwalimu generate my-job/distill.yaml",
        "mwalimu generate my-job/distill.yaml --min-ok 0.95",
    ),
    "curate": ("mwalimu curate my-job/distill.yaml",),
    "finetune": (
        "mwalimu finetune my-job/distill.yaml",
        "mwalimu finetune my-job/distill.yaml --set finetune.learning_rate=1.0e-4",
    ),
    "lr": ("mwalimu lr my-job/distill.yaml",),
    "evaluate": (
        "mwalimu evaluate my-job/distill.yaml",
        "mwalimu evaluate my-job/distill.yaml --harness hellaswag --harness-limit 100",
    ),
    "report": ("mwalimu report runs/my-job", "mwalimu report runs/first runs/second --out both"),
    "forecast": ("mwalimu forecast runs/my-job --rows 2000",),
    "buy": ("mwalimu buy my-job/distill.yaml",),
    "tune": ("mwalimu tune my-job/distill.yaml --budget 2h,50trials",),
    "export": (
        "mwalimu export runs/my-job --to onnx --precision int4",
        "mwalimu export runs/my-job --sweep --max-size 500MB",
    ),
    "serve": (
        "mwalimu serve runs/my-job",
        "mwalimu serve runs/my-job/export/onnx-int4 --port 9000",
        "mwalimu serve runs/my-job --fallback teacher --below auto --max-usd 5",
    ),
    "server": (
        "mwalimu server",
        "mwalimu server --workspace service --port 8600 --slots cpu=2",
        "mwalimu server token make amina --role submitter",
    ),
    "server token": ("mwalimu server token make amina --role submitter",),
    "server token make": ("mwalimu server token make amina --role submitter --days 30",),
    "server token list": ("mwalimu server token list",),
    "server token revoke": ("mwalimu server token revoke amina",),
    "doctor": ("mwalimu doctor",),
    "models": (
        "mwalimu models",
        "mwalimu models llama --returns logprobs",
        "mwalimu models --students phi",
    ),
    "signals": ("mwalimu signals capture my-job/distill.yaml",),
    "signals capture": ("mwalimu signals capture my-job/distill.yaml",),
    "signals inspect": ("mwalimu signals inspect runs/my-job/signals/sampled/train",),
    "signals verify": ("mwalimu signals verify runs/my-job/signals/sampled/train",),
    "data": ("mwalimu data inspect prompts.jsonl",),
    "data inspect": ("mwalimu data inspect prompts.jsonl",),
    "data validate": ("mwalimu data validate prompts.jsonl --task qa",),
    "data convert": ("mwalimu data convert tickets.jsonl azure.jsonl --to azure",),
    "data import-answers": (
        "mwalimu data import-answers bought.jsonl --config my-job/distill.yaml",
    ),
    "runs": ("mwalimu runs verify runs/my-job",),
    "runs verify": ("mwalimu runs verify runs/my-job",),
    "runs repair": (
        "mwalimu runs repair runs/my-job",
        "mwalimu runs repair --answers .mwalimu/answers",
    ),
    "runs gc": ("mwalimu runs gc runs/my-job --dry-run",),
    "runs backup": ("mwalimu runs backup runs/my-job backups/my-job",),
    "status": ("mwalimu status runs/my-job",),
    "completion": (
        "mwalimu completion bash >> ~/.bashrc",
        "mwalimu completion zsh >> ~/.zshrc",
        "mwalimu completion fish > ~/.config/fish/completions/mwalimu.fish",
    ),
    "jobs": ("mwalimu jobs submit my-job/distill.yaml --wait",),
    "jobs submit": ("mwalimu jobs submit my-job/distill.yaml --name desk --wait",),
    "jobs list": ("mwalimu jobs list --state Running",),
    "jobs show": ("mwalimu jobs show desk",),
    "jobs logs": ("mwalimu jobs logs desk --follow",),
    "jobs metrics": ("mwalimu jobs metrics desk",),
    "jobs events": ("mwalimu jobs events desk --follow",),
    "jobs wait": ("mwalimu jobs wait desk",),
    "jobs cancel": ("mwalimu jobs cancel desk",),
    "jobs pause": ("mwalimu jobs pause desk",),
    "jobs resume": ("mwalimu jobs resume desk",),
    "jobs delete": ("mwalimu jobs delete desk",),
    "jobs download": ("mwalimu jobs download desk report.html --to results",),
    "jobs models": ("mwalimu jobs models list",),
    "jobs models list": ("mwalimu jobs models list",),
    "jobs models show": ("mwalimu jobs models show support --version 2",),
    "jobs models register": ("mwalimu jobs models register support desk",),
    "jobs models download": ("mwalimu jobs models download support --to student",),
    "jobs models evaluate": ("mwalimu jobs models evaluate support test.jsonl",),
    "jobs models delete": ("mwalimu jobs models delete support 1",),
    "jobs datasets": ("mwalimu jobs datasets upload tickets train.jsonl",),
    "jobs datasets list": ("mwalimu jobs datasets list",),
    "jobs datasets upload": ("mwalimu jobs datasets upload tickets train.jsonl --task qa",),
    "jobs datasets validate": ("mwalimu jobs datasets validate train.jsonl",),
    "jobs datasets delete": ("mwalimu jobs datasets delete tickets",),
}
"""By the words behind `mwalimu`; the whole line, as it is typed."""


def add_examples(command: Any, path: str = "") -> None:
    """To the end of the help of a command, and of all below it that are built."""
    if lines := EXAMPLES.get(path):
        heading = "Examples:" if len(lines) > 1 else "Example:"
        command.epilog = "\n".join(["\b", heading, *(f"  {line}" for line in lines)])
    if path:
        for name, inner in getattr(command, "commands", {}).items():
            add_examples(inner, f"{path} {name}")
