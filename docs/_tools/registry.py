"""The page of the registry: teachers and students that are known by name, as they ship."""

from __future__ import annotations

from docs._tools.wording import code, table

from mwalimu.registry.catalogue import Catalogue, Model, Route, Student, _catalogue
from mwalimu.registry.display import METHODS

HEAD = """\
# Models known by name
Derived from the registry that ships (`mwalimu/registry/models.yaml`, `students.yaml`); `mwalimu
models NAME` says more of one, and files of your own add to it. A price is US dollars a million
tokens of input and output, as its source stated it on its day; where none stands, no dated source
states one, and a budget in dollars needs yours. Look prices and terms up before you rely on them.

"""
STUDENTS = """
## Students
GiB of weights, gradients and optimiser by method (adapters of rank 16); activations come on top:
`mwalimu estimate` reckons them.

"""


def shipped() -> Catalogue:
    """Without the files of whoever builds the site."""
    return _catalogue(())


def page() -> str:
    known = shipped()
    teachers = table(
        ["teacher", "context", "route", "model there", "key", "log-probs", "USD, as of"],
        [_route(model, route) for model in known.models.values() for route in model.routes],
    )
    terms = table(
        ["teacher", "family", "licence", "training on its output", "in a clause"],
        [_terms(model) for model in known.models.values()],
    )
    students = table(
        ["student", "hub id", "parameters", "context", *METHODS, "licence"],
        [_student(student) for student in known.students.values()],
    )
    return (
        f"{HEAD}## Teachers and their routes\n\n{teachers}\n\n"
        f"## What their terms say\n\n{terms}\n{STUDENTS}{students}\n"
    )


def _route(model: Model, route: Route) -> tuple[str, ...]:
    price = route.price
    told = [f"{price.input:g} / {price.output:g}, {price.date}"] if price else []
    told += [f"answers until {route.retired}"] if route.retired else []
    return (
        code(model.name),
        f"{model.context:,}",
        code(route.name),
        code(route.model),
        code(route.api_key_env or ""),
        str(route.top_logprobs or ""),
        "; ".join(told),
    )


def _terms(model: Model) -> tuple[str, ...]:
    licence = model.licence
    named = f"[{licence.name}]({licence.url})"
    return code(model.name), model.family, named, licence.training, licence.terms


def _student(student: Student) -> tuple[str, ...]:
    shape = student.shape
    needs = [f"{needed(shape) / 2**30:.1f}" for needed in METHODS.values()]
    licence = f"[{student.licence.name}]({student.licence.url})"
    size = f"{shape.parameters / 1e9:.2f} B"
    return (
        code(student.name),
        code(student.weights),
        size,
        f"{student.context:,}",
        *needs,
        licence,
    )
