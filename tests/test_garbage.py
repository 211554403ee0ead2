import gc
import subprocess
import sys

import pytest

from mwalimu.garbage import importing


@pytest.mark.parametrize("on", [True, False])
def test_it_is_as_it_was_after_an_import_that_failed_too(on: bool) -> None:
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        with pytest.raises(ImportError), importing():
            assert not gc.isenabled()
            with importing():
                pass
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is on
    finally:
        (gc.enable if was_on else gc.disable)()


ENDS = """
import atexit, gc
from mwalimu.garbage import left_at_the_end
atexit.register(lambda: print(gc.get_freeze_count() > 1000, len(gc.get_objects()) < 100))
left_at_the_end()
"""


def test_a_process_of_ours_ends_without_a_look_at_what_is_there() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
