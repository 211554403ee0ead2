"""Shared by all tests: nothing is looked up on a hub, and waiting threads do not spin."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
