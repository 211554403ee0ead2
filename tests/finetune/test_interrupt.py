"""What a signal asks for, and when a second one is another signal."""

import signal

import pytest

from mwalimu.finetune.interrupt import SIGNALS, Interruption, interruption


def test_a_second_signal_is_another_one_only_after_the_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    asked = Interruption(grace=5.0)
    asked.handle(signal.SIGINT, None)
    now[0] += 4.9
    asked.handle(signal.SIGINT, None)  # torchrun passes on what the terminal has sent already
    assert asked.asked
    now[0] += 0.2
    with pytest.raises(KeyboardInterrupt):
        asked.handle(signal.SIGINT, None)


def test_without_grace_the_second_one_raises() -> None:
    asked = Interruption()
    asked.handle(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        asked.handle(signal.SIGINT, None)


@pytest.mark.parametrize("number", SIGNALS)
def test_both_signals_are_caught_inside_and_left_alone_outside(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with interruption() as asked:
        signal.raise_signal(number)
        assert asked.asked
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_what_a_process_ignores_it_goes_on_ignoring() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption() as asked:
            signal.raise_signal(signal.SIGINT)
        assert not asked.asked and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
