"""What is proposed fits, costs least, and keeps the rows of a step."""

import pytest

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.finetune.footprint import LIBRARIES, Change, Lengths, Setting, fits, needed
from mwalimu.finetune.footprint.fitting import SHARE, changes, least_change
from mwalimu.registry import find_student

GIB = 2**30


def job(name: str = "llama-3.2-1b", longest: int = 1024, **changed: object) -> Setting:
    known = find_student(name)
    assert known is not None
    settings = {k: v for k, v in changed.items() if k in FinetuneConfig.model_fields}
    student = {k: v for k, v in changed.items() if k not in settings}
    return Setting(
        shape=known.shape,
        student=StudentConfig.model_validate({"model": name, "method": "full"} | student),
        finetune=FinetuneConfig.model_validate({"batch_size": 8} | settings),
        lengths=Lengths(longest=longest, targets=longest // 2),
        device="cuda",
    )


def rows_of_a_step(how: Setting) -> int:
    return how.finetune.batch_size * how.finetune.accumulation


def test_what_fits_stays_as_it_is() -> None:
    how = job()
    change = least_change(how, 200 * GIB)
    assert change is not None
    assert change.options == () and change.how == how and change.slower == 1
    assert fits(how, 200 * GIB) and not fits(how, 10 * GIB)


@pytest.mark.parametrize("gib", [64, 40, 32, 24, 16, 12, 8, 6, 4])
def test_the_least_change_that_fits(gib: int) -> None:
    how, memory = job(), gib * GIB
    change = least_change(how, memory)
    fitting = [one for one in changes(how) if one.needed <= SHARE * memory]
    if change is None:
        assert not fitting
        return
    assert needed(change.how) == change.needed <= SHARE * memory
    assert rows_of_a_step(change.how) == rows_of_a_step(how)
    assert all((change.severity, change.slower) <= (x.severity, x.slower) for x in fitting)


def test_less_memory_never_costs_less() -> None:
    how = job()
    found = [least_change(how, gib * GIB) for gib in range(4, 80, 4)]
    costs = [(one.severity, one.slower) for one in found if one is not None]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) > 3


def test_the_order_of_what_is_changed() -> None:
    """Passes and checkpointing first; then moments; then the method."""

    def first(text: str) -> float:
        kinds = [change for change in changes(job()) if text in change.options]
        return min(change.severity for change in kinds)

    assert first("finetune.batch_size=4") == first("finetune.activation_checkpointing=on") == 0
    assert 0 < first("finetune.optimiser=adamw_8bit") < first("student.method=lora")
    assert first("student.method=lora") < first("student.base_bits=8")
    assert first("student.base_bits=8") < first("student.base_bits=4")


def test_options_make_what_they_say() -> None:
    for change in changes(job(batch_size=4, accumulation=2)):
        for option in change.options:
            key, _, value = option.partition("=")
            section, _, name = key.partition(".")
            sections = {"student": change.how.student, "finetune": change.how.finetune}
            assert str(getattr(sections[section], name)) == value


@pytest.mark.parametrize(
    ("changed", "never"),
    [
        ({"method": "lora"}, "student.method=lora"),
        ({"method": "lora"}, "finetune.optimiser=adamw_8bit"),
        ({"method": "qlora"}, "student.base_bits=8"),
        ({"freeze": ("embeddings",)}, "student.method=lora"),
        ({"activation_checkpointing": "on"}, "finetune.activation_checkpointing=on"),
    ],
)
def test_what_is_so_or_cannot_be_is_not_proposed(changed: dict[str, object], never: str) -> None:
    assert all(never not in change.options for change in changes(job(**changed)))


def test_tokens_are_halved_where_passes_go_by_tokens() -> None:
    how = job(tokens_per_pass=8192)
    halved = [c for c in changes(how) if c.options == ("finetune.tokens_per_pass=4096",)]
    assert len(halved) == 1 and halved[0].needed < needed(how)
    assert not any("batch_size" in option for c in changes(how) for option in c.options)


def test_known_batches_become_smaller_with_their_rows() -> None:
    how = job()
    lengths = Lengths(longest=1024, targets=512, fullest=3000)
    known = next(
        change
        for change in changes(Setting(**{**vars_of(how), "lengths": lengths}))
        if change.options == ("finetune.batch_size=4", "finetune.accumulation=2")
    )
    assert known.how.places == 1500


def vars_of(how: Setting) -> dict[str, object]:
    return {name: getattr(how, name) for name in how.__dataclass_fields__}


def test_small_passes_of_short_rows_are_slow() -> None:
    """Eight rows of 64 tokens one by one leave a GPU waiting; of 4,096 they do not."""

    def slower(longest: int) -> float:
        found = [c for c in changes(job(longest=longest)) if "finetune.batch_size=1" in c.options]
        return min(change.slower for change in found if change.severity == 0)

    assert slower(64) > 3 and slower(4096) < 1.25


def test_the_libraries_count() -> None:
    how = job()
    assert needed(how) - LIBRARIES["cuda"] > 0
    assert isinstance(next(changes(how)), Change)
