"""Shared by all tests: nothing is looked up on a hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
