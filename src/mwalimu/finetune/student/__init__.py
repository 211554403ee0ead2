"""The student: pruned out of a larger model, loaded, frozen in part or adapted, and published."""

import logging

# On some CPUs bitsandbytes, which peft imports where it is installed, warns of a missing extra of
# its own before anyone has asked for anything quantised.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

from mwalimu.finetune.student.loading import autocast_wanted, load_student  # noqa: E402
from mwalimu.finetune.student.pruning import pruned, started  # noqa: E402
from mwalimu.finetune.student.publishing import check_finite, save_student  # noqa: E402

__all__ = ["autocast_wanted", "check_finite", "load_student", "pruned", "save_student", "started"]
