"""One file of routes a noun; who may call which is in `access.py` alone."""
