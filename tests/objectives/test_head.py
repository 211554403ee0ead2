"""A head taken apart gives the logits of its model; one that cannot be is not taken apart."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.objectives.head import Head, find_head

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
    "gemma2, soft cap": ("gemma2", {"head_dim": 8, "final_logit_softcapping": 3.0}),
    "gemma2, no cap": ("gemma2", {"head_dim": 8, "final_logit_softcapping": None}),
    "gemma3": ("gemma3_text", {"head_dim": 8, "final_logit_softcapping": 2.0}),
    "cohere, logit scale": ("cohere", {"logit_scale": 0.0625}),
    "cohere2": ("cohere2", {"logit_scale": 0.25}),
    "granite, scaling": ("granite", {"logits_scaling": 8.0}),
    "phi3": ("phi3", {}),
    "phi, bias": ("phi", {}),
    "falcon-h1, multiplier": (
        "falcon_h1",
        {
            "lm_head_multiplier": 0.3,
            "mamba_d_ssm": 16,
            "mamba_n_heads": 2,
            "mamba_d_head": 8,
            "mamba_d_state": 4,
            "mamba_expand": 1,
        },
    ),
    "gpt2, tied": ("gpt2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}),
}


def make_model(name: str) -> Any:
    arch, options = MODELS[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(arch, **{**SMALL, **options}))
    with torch.no_grad():  # large enough for a cap to bite, and a bias to be seen
        layer = model.get_output_embeddings()
        layer.weight.mul_(40)
        if layer.bias is not None:
            layer.bias.normal_()
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_head_of_the_states_is_the_logits(name: str) -> None:
    model = make_model(name)
    ids_BT = torch.arange(12).view(2, 6)
    head = find_head(model)
    assert head is not None
    with torch.no_grad():
        decoder = getattr(model, model.base_model_prefix)
        hidden_BTH = decoder(input_ids=ids_BT, use_cache=False).last_hidden_state
        got_NV = head.logits(hidden_BTH.flatten(0, 1))
        expected_NV = model(input_ids=ids_BT, use_cache=False).logits.flatten(0, 1)
    torch.testing.assert_close(got_NV, expected_NV.float(), rtol=1e-5, atol=1e-5)
    assert expected_NV.abs().max() > 0.5
    assert head.weight_VH is model.get_output_embeddings().weight


# peft asks transformers by names that transformers is about to drop.
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_adapters_leave_the_head_findable_unless_they_are_on_it() -> None:
    from peft import LoraConfig, get_peft_model

    inside = get_peft_model(make_model("llama"), LoraConfig(target_modules=["q_proj"]))
    head = find_head(inside)
    assert head is not None and not head.weight_VH.requires_grad
    for options in (
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    ):
        assert find_head(get_peft_model(make_model("llama"), LoraConfig(**options))) is None


def test_what_is_no_plain_matrix_has_no_head() -> None:
    model = make_model("llama")
    model.set_output_embeddings(torch.nn.Sequential(model.get_output_embeddings()))
    assert find_head(model) is None
    assert find_head(torch.nn.Linear(2, 2)) is None


@pytest.mark.parametrize("options", [{}, {"scale": 0.3}, {"soft_cap": 2.0, "scale": 1.7}])
def test_before_cap_is_the_derivative_of_the_logits(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    head = Head(torch.randn(7, 3).double(), torch.randn(7).double(), vocabulary=5, **options)
    raw_CV = (torch.randn(4, 3).double() @ head.weight_VH.t())[:, :5].requires_grad_()
    cap = head.soft_cap or 1e9
    logits_CV = cap * torch.tanh(head.scale * raw_CV / cap)
    grad_CV = torch.randn_like(logits_CV)
    (expected_CV,) = torch.autograd.grad(logits_CV, [raw_CV], grad_CV)
    got_CV = head.before_cap(grad_CV.clone(), logits_CV.detach())
    torch.testing.assert_close(got_CV, expected_CV)


@pytest.mark.parametrize("states", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("weights", [torch.bfloat16, torch.float32])
def test_logits_are_float32_whatever_the_types(states: torch.dtype, weights: torch.dtype) -> None:
    torch.manual_seed(0)
    hidden_CH, weight_VH = torch.randn(4, 3).to(states), torch.randn(7, 3).to(weights)
    logits_CV = Head(weight_VH, torch.randn(7).to(weights), soft_cap=5.0).logits(hidden_CH)
    assert logits_CV.dtype == torch.float32 and logits_CV.shape == (4, 7)
