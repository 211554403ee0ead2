"""Known teachers by name: where each is served, what it returns and costs, what its terms allow.

`models.yaml` ships; `~/.config/mwalimu/models.yaml` and `.mwalimu/models.yaml`, of the same format,
add to it. Nothing here imports the config: the config asks `resolve` to complete a teacher.
"""

from mwalimu.registry.catalogue import Licence, Model, Price, Route, find, load
from mwalimu.registry.routing import resolve, search, terms_notice

__all__ = [
    "Licence",
    "Model",
    "Price",
    "Route",
    "find",
    "load",
    "resolve",
    "search",
    "terms_notice",
]
