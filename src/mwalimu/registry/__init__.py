"""Known models by name. Teachers: where each is served, what it returns and costs, what its terms
allow. Students: hub id, shape, what they need to be trained.

`models.yaml` and `students.yaml` ship; `~/.config/mwalimu/models.yaml` and `.mwalimu/models.yaml`,
of the same format, add to them. Nothing here knows of a config: `config/routing.py` completes a
teacher from here, and the config asks `resolve_student` for a student's hub id.
"""

from mwalimu.registry.catalogue import Licence, Model, Price, Route, Student, find, load
from mwalimu.registry.searching import search
from mwalimu.registry.shape import Shape
from mwalimu.registry.students import find_student, resolve_student, search_students

__all__ = [
    "Licence",
    "Model",
    "Price",
    "Route",
    "Shape",
    "Student",
    "find",
    "find_student",
    "load",
    "resolve_student",
    "search",
    "search_students",
]
