"""Imported last where processes are forked from one that has imported all: it stays to the end.

A collection then walks through what a test has made, and not through a million objects of modules.
"""

import gc

gc.collect()
gc.freeze()
gc.enable()
