import numpy as np
import pytest

from mwalimu.data.kept import draw_key, pack, uniforms, unpack


def test_uniforms_are_of_the_key_alone_and_of_no_length() -> None:
    key, other = b"0123456789abcdef", b"0123456789abcdeg"
    whole = uniforms(key, 1000, 12)
    assert whole.shape == (1000, 12) and (uniforms(key, 7, 12) == whole[:7]).all()
    assert (uniforms(other, 1000, 12) != whole).all()
    assert whole.min() >= 0 and whole.max() < 1 and len(np.unique(whole)) == whole.size
    assert whole.mean() == pytest.approx(0.5, abs=0.02) and whole.std() == pytest.approx(
        12**-0.5, abs=0.01
    )


def test_a_known_value_pins_the_draws() -> None:
    """Another numpy, or another machine, has to draw the same."""
    assert uniforms(bytes(range(16)), 1, 2).tolist() == [[0.7761366048984066, 0.9612052412461628]]


def test_the_key_of_the_draws_is_the_first_half_of_the_requests() -> None:
    assert draw_key("ab" * 16 + "cd" * 16) == b"\xab" * 16


def test_arrays_come_back_as_they_went() -> None:
    arrays = {
        "draws": np.arange(24, dtype=np.int32).reshape(2, 12),
        "tail": np.array([-np.inf, -1.5], np.float32),
    }
    found = unpack(pack(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and (found[name] == array).all()


@pytest.mark.parametrize("damage", [["<i4", [2], "AAAA"], ["<i4", [2], "?"], ["x", [], ""]])
def test_damage_is_a_value_error(damage: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        unpack({"draws": damage})
