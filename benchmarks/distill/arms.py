"""The ways to take one step that are compared. An arm is a function of a module here."""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE = "ours-sft-fused"


@dataclass(frozen=True)
class Arm:
    """`build(workload)` in `module` yields a function without arguments that yields the loss.

    `environment`: None is that which runs the benchmark. `packages` are what its speed hangs on.
    """

    name: str
    module: str
    build: str
    what: str
    packages: tuple[str, ...]
    environment: str | None = None


OURS = ("mwalimu", "torch", "transformers")
TRL = ("trl", "torch", "transformers")

ARMS = {
    arm.name: arm
    for arm in (
        Arm(REFERENCE, "ours", "sft", "cross-entropy, head and loss fused", OURS),
        Arm("ours-cached-kd", "ours", "sampled", "forward KL from 12 cached draws a token", OURS),
        Arm("ours-cached-topk", "ours", "best", "forward KL from the 64 best and a tail", OURS),
        Arm("ours-live-kl", "ours", "live_kl", "forward KL, live teacher", OURS),
        Arm("ours-live-jsd", "ours", "live_jsd", "JSD 0.5, live teacher", OURS),
        Arm("hf-sft", "hugging_face", "sft", "cross-entropy, `labels=`", ("torch", "transformers")),
        Arm("trl-gkd", "peers.trl", "gkd", "JSD 0.5, live teacher", TRL, "peers"),
        Arm("trl-stable-kl", "peers.trl", "stable_kl", "forward KL, live teacher", TRL, "peers"),
        Arm("trl-stable-jsd", "peers.trl", "stable_jsd", "JSD 0.5, live teacher", TRL, "peers"),
        Arm("trl-gold", "peers.trl", "gold", "JSD 0.5, live teacher, one tokenizer", TRL, "peers"),
        Arm(
            "liger-jsd",
            "peers.liger",
            "jsd",
            "JSD 0.5, live teacher, chunked",
            ("liger-kernel", "torch", "transformers"),
            "peers",
        ),
        Arm(
            "distillkit",
            "peers.distillkit_kl",
            "sparse_kl",
            "forward KL from the 64 best and a tail",
            ("distillkit", "torch", "transformers"),
            "peers",
        ),
    )
}
