"""How far the student's next-token distribution is from the teacher's, and what a drafter gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DRAFT_TOKENS = 4


@dataclass(slots=True)
class Divergence:
    """Sums over tokens; add batches, then read the means."""

    tokens: int = 0
    kl_nats: float = 0.0
    shared: float = 0.0
    same_best: int = 0
    draft_tokens: int = DRAFT_TOKENS

    def add(self, teacher_TV: Any, student_TV: Any) -> None:
        """Logits of the same positions; columns beyond the narrower vocabulary are padding.

        KL(p || q) = sum p (log p - log q) with p the teacher's; the shared mass is
        sum min(p, q) = 1 - TV(p, q).
        """
        common = min(teacher_TV.shape[-1], student_TV.shape[-1])
        p_TV = teacher_TV[:, :common].float().log_softmax(-1)
        q_TV = student_TV[:, :common].float().log_softmax(-1)
        self.tokens += len(p_TV)
        self.kl_nats += float((p_TV.exp() * (p_TV - q_TV)).sum(-1).double().sum())
        self.shared += float(p_TV.exp().minimum(q_TV.exp()).sum(-1).double().sum())
        self.same_best += int((p_TV.argmax(-1) == q_TV.argmax(-1)).sum())

    def to_json(self) -> dict[str, Any] | None:
        """`kl`: nats a token. `acceptance`: of speculative decoding with the student as drafter.

        Leviathan et al. 2023: alpha = E[1 - TV(p, q)] (corollary 3.6), and with gamma drafted
        tokens one run of the teacher gives (1 - alpha^(gamma + 1)) / (1 - alpha) tokens
        (equation 1, which takes acceptances as independent). None where no token was read.
        """
        if not self.tokens:
            return None
        acceptance = min(1.0, self.shared / self.tokens)
        return {
            "tokens": self.tokens,
            "kl": self.kl_nats / self.tokens,
            "same_best_token": self.same_best / self.tokens,
            "acceptance": acceptance,
            "draft_tokens": self.draft_tokens,
            "tokens_per_step": expected_tokens(acceptance, self.draft_tokens),
        }


def expected_tokens(acceptance: float, draft_tokens: int) -> float:
    """Leviathan et al. 2023, equation 1, as the sum of its geometric series: whole at 1 too."""
    return float(sum(acceptance**i for i in range(draft_tokens + 1)))
