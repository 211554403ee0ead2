"""Imported first where all is imported: nothing is garbage until `tests.frozen`."""

import gc

gc.disable()
