"""TRL's trainers, made as a user makes them; a step is their `compute_loss` on a batch.

Their batch would come from a collator or from generation; here it is the workload's. Gradient
checkpointing, which TRL turns on by default, is off: the other arms do not recompute either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import DistillationConfig, DistillationTrainer
from trl.experimental.gkd import GKDConfig, GKDTrainer
from trl.experimental.gold import GOLDConfig, GOLDTrainer
from workload import Workload

Loss = Callable[[], torch.Tensor]


def gkd(work: Workload) -> Loss:
    # lmbda 0: the given completions are learned, none is generated.
    arguments = _arguments(GKDConfig, work, lmbda=0.0, beta=0.5)
    return _on_whole_rows(GKDTrainer, arguments, work)


def gold(work: Workload) -> Loss:
    arguments = _arguments(GOLDConfig, work, lmbda=0.0, beta=0.5, temperature=1.0)
    return _on_whole_rows(GOLDTrainer, arguments, work)


def stable_kl(work: Workload) -> Loss:
    return _stable(work, beta=0.0)


def stable_jsd(work: Workload) -> Loss:
    return _stable(work, beta=0.5)


def _stable(work: Workload, beta: float) -> Loss:
    arguments = _arguments(DistillationConfig, work, beta=beta, temperature=1.0)
    trainer = _trainer(DistillationTrainer, arguments, work, {"prompt": ["a"]})
    prompt = work.size.prompt

    def loss() -> torch.Tensor:
        batch = {
            "prompt_ids": work.ids_BT[:, :prompt],
            "prompt_mask": work.mask_BT[:, :prompt],
            "completion_ids": work.ids_BT[:, prompt:],
            "completion_mask": work.mask_BT[:, prompt:],
            "num_items_in_batch": torch.tensor(work.size.num_targets, device=work.device),
        }
        return trainer.compute_loss(trainer.model, batch)

    return loss


def _on_whole_rows(kind: Any, arguments: Any, work: Workload) -> Loss:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]
    trainer = _trainer(kind, arguments, work, {"messages": [turns]})

    def loss() -> torch.Tensor:
        batch = {
            "input_ids": work.ids_BT,
            "attention_mask": work.mask_BT,
            "labels": work.labels_BT,
        }
        return trainer.compute_loss(trainer.model, batch, num_items_in_batch=work.size.num_targets)

    return loss


def _arguments(kind: Any, work: Workload, **settings: Any) -> Any:
    return kind(
        output_dir=str(work.folder / "trl"),
        use_cpu=work.device.type == "cpu",
        bf16=False,  # the weights already have the type that is measured
        gradient_checkpointing=False,
        per_device_train_batch_size=work.size.rows,
        report_to="none",
        **settings,
    )


def _trainer(kind: Any, arguments: Any, work: Workload, row: dict[str, Any]) -> Any:
    trainer = kind(
        model=work.student,
        teacher_model=work.teacher(),
        args=arguments,
        train_dataset=Dataset.from_dict(row),  # asked for, never read
        processing_class=tokenizer(),
    )
    trainer.model.train()
    return trainer


def tokenizer() -> PreTrainedTokenizerFast:
    """The trainers want one when they are made (GOLD one of bytes); the batches are ids already."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, "<pad>", "<end>"])}
    backend = Tokenizer(models.BPE(vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    found = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )
    found.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return found
