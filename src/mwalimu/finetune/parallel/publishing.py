"""A folder that several processes write and that appears whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mwalimu.files import disk_errors, fsync_tree
from mwalimu.finetune.files import publish_folder, tensor_errors
from mwalimu.finetune.parallel.world import World


@contextmanager
def publish_together(target: Path, world: World) -> Iterator[Path]:
    """`publish_folder`, in which every process writes; on a failure of one, all of them raise.

    The processes see the same file system. A killed one leaves `target` as it was.
    """
    with world.agreed(), ExitStack() as main:
        folder = target
        with world.agreed():
            if world.main:
                folder = main.enter_context(publish_folder(target))
        folder = Path(world.gather(str(folder))[0])
        with world.agreed(), disk_errors(target), tensor_errors():
            yield folder
            if not world.main:
                fsync_tree(folder)
