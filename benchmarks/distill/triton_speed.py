"""The loss of a chunk in Triton beside the same in torch, on CUDA: time and memory.

    python benchmarks/distill/triton_speed.py --vocabulary 151936 --rounds 20

A row a form of target and number of tokens. Times are of the loss and its gradient alone, without
the products of the head. Both versions run in turns, on logits of their own, and the median of each
is shown with its fastest and slowest; "bus" is how many gigabytes a second the reads and writes
that the Triton version cannot do without would be at. Memory is the allocator's peak beside the
logits and the target. "apart" is the distance of the two gradients, relative to torch's.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import torch

from mwalimu.objectives.kernels import ChunkLoss, torch_chunk
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import ChunkTarget, DenseTarget, SampledTarget, SparseTarget

CROSS_ENTROPY = Part("cross_entropy")
FORMS: dict[str, tuple[list[Part], int, int]] = {
    "labels": ([CROSS_ENTROPY], 3, 0),
    "sampled 12": ([Part("forward_kl")], 3, 0),
    "topk 50": ([Part("forward_kl")], 3, 0),
    "topk 50, CE + KL at 2": ([CROSS_ENTROPY, Part("forward_kl", 1.0, 2.0)], 4, 0),
    "dense forward KL": ([Part("forward_kl")], 4, 3),
    "dense JSD": ([Part("jsd")], 4, 3),
    "dense CE + KL at 2": ([CROSS_ENTROPY, Part("forward_kl", 1.0, 2.0)], 5, 3),
}
"""Parts, and how often the logits and a dense teacher have to cross the bus."""
HEADER = f"{'':24}{'tokens':>7}{'torch ms':>26}{'Triton ms':>26}{'times':>7}{'bus GB/s':>9}"
MIB = 2**20
WARM_UP = 3
"""Rounds; Triton compiles in the first."""


def main() -> int:
    arguments = parse()
    if not torch.cuda.is_available():
        print("No CUDA device here: there is nothing to measure.")
        return 0
    from mwalimu.objectives.kernels import triton_chunk

    versions: list[ChunkLoss] = [torch_chunk.chunk_loss, triton_chunk.chunk_loss]
    print(torch.cuda.get_device_name(), "torch", torch.__version__, f"V = {arguments.vocabulary}")
    print(f"{HEADER}{'torch MiB':>11}{'Triton MiB':>11}{'apart':>9}")
    for tokens in arguments.tokens:
        for form in FORMS:
            try:
                print(row(form, tokens, arguments.vocabulary, arguments.rounds, versions))
            except torch.cuda.OutOfMemoryError:
                print(f"{form:24}{tokens:>7}  out of memory")
            torch.cuda.empty_cache()
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


class Arm:
    """A version, and what was seen of it."""

    def __init__(self, chunk_loss: ChunkLoss) -> None:
        self.chunk_loss = chunk_loss
        self.times: list[float] = []
        self.mib = 0.0
        self.grad_CV = torch.empty(0)

    def run(
        self,
        logits_CV: torch.Tensor,
        labels_C: torch.Tensor,
        target: ChunkTarget | None,
        parts: list[Part],
        counts: bool,
    ) -> None:
        self.grad_CV = torch.empty(0)
        work_CV = logits_CV.clone()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self.chunk_loss(work_CV, labels_C, target, parts, 1 / len(labels_C))
        end.record()
        torch.cuda.synchronize()
        self.mib = (torch.cuda.max_memory_allocated() - before) / MIB
        self.grad_CV = work_CV
        if counts:
            self.times.append(start.elapsed_time(end))

    def shown(self) -> str:
        median, least, most = statistics.median(self.times), min(self.times), max(self.times)
        return f"{median:.3f} ({least:.3f}-{most:.3f})".rjust(26)


def row(form: str, tokens: int, vocabulary: int, rounds: int, versions: list[ChunkLoss]) -> str:
    logits_CV = 3 * torch.randn(tokens, vocabulary, device="cuda")
    labels_C = torch.randint(vocabulary, (tokens,), device="cuda")
    target = target_of(form, tokens, vocabulary)
    parts, of_logits, of_teacher = FORMS[form]
    theirs, ours = arms = [Arm(chunk_loss) for chunk_loss in versions]
    for number in range(-WARM_UP, rounds):
        for arm in arms:
            arm.run(logits_CV, labels_C, target, parts, number >= 0)
    moved = of_logits * logits_CV.nbytes
    if isinstance(target, DenseTarget):
        moved += of_teacher * target.logp_NV.nbytes
    milliseconds = statistics.median(ours.times)
    ratio = statistics.median(theirs.times) / milliseconds
    apart = float((ours.grad_CV - theirs.grad_CV).norm() / theirs.grad_CV.norm())
    return (
        f"{form:24}{tokens:>7}{theirs.shown()}{ours.shown()}{ratio:>7.2f}"
        f"{moved / milliseconds / 1e6:>9.0f}{theirs.mib:>11.1f}{ours.mib:>11.1f}{apart:>9.1e}"
    )


def target_of(form: str, tokens: int, vocabulary: int) -> ChunkTarget | None:
    """A dense one is float32, as a live teacher's head gives it."""
    if form == "labels":
        return None
    scores_CV = 3 * torch.randn(tokens, vocabulary, device="cuda")
    if form.startswith("dense"):
        return DenseTarget(scores_CV)
    entries = 12 if form.startswith("sampled") else 50
    logp_CK, ids_CK = scores_CV.log_softmax(1).topk(entries, dim=1)
    if form.startswith("sampled"):
        return SampledTarget(ids_CK, torch.full_like(logp_CK, 1 / entries))
    return SparseTarget(ids_CK, logp_CK, torch.log1p(-logp_CK.exp().sum(1)))


if __name__ == "__main__":
    sys.exit(main())
