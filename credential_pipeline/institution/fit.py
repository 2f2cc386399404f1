"""Whether the members of an institution fit each other across sources and catalogue.

Belongs here: every check that needs more than one source or file, as functions that yield all misfits they find, with
paths from the institution's root. Does not belong here: what one dataset or one achievement can say by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from credential_pipeline.institution.base import Misfit, suggest
from credential_pipeline.institution.catalogue import Achievement, Catalogue, Occurrence, Requirement, Rule
from credential_pipeline.institution.checks import Date, OneOf, Reference
from credential_pipeline.institution.sources import CodeDate, Dataset, DatasetOfSource, Source, WeightedMean

Path = tuple[str | int, ...]


def named_datasets(sources: Sequence[Source]) -> dict[str, DatasetOfSource]:
    """Datasets by SOURCE.DATASET, in the order of the file."""
    of_sources = (DatasetOfSource(source=source, dataset=dataset) for source in sources for dataset in source.datasets)
    return {dataset.name: dataset for dataset in of_sources}


def misfits_of_sources(sources: Sequence[Source]) -> Iterator[Misfit]:
    """Ids used twice; datasets, fields and sources that are named and do not exist; datasets that need each other."""
    named = named_datasets(sources)
    ids = {source.id for source in sources}
    yield from repeated([source.id for source in sources], ("sources",), "source")
    for i, source in enumerate(sources):
        yield from repeated([dataset.id for dataset in source.datasets], ("sources", i, "datasets"), "dataset")
        for j, dataset in enumerate(source.datasets):
            path: Path = ("sources", i, "datasets", j)
            yield from _misfits_of_derivations(dataset, path, named)
            yield from _misfits_of_references(dataset, path, named)
            if dataset.person and dataset.person.source:
                yield from _unknown_source(dataset.person.source, ids, (*path, "person", "source"))
            for key in dataset.cross_references:
                yield from _unknown_source(key, ids, (*path, "cross_references", key))
    yield from _circle(sources, named)


def repeated(ids: Sequence[str], path: Path, kind: str) -> Iterator[Misfit]:
    """Ids that stand for the same asset: assets are named with _ where an id has -."""
    names = [written.replace("-", "_") for written in ids]
    for position, name in enumerate(names):
        if name in names[:position]:
            what = f"another {kind} has the id {ids[names.index(name)]}"
            yield Misfit((*path, position, "id"), what, "give one of them another id")


def misfits_of_rules(sources: Sequence[Source], catalogue: Catalogue) -> Iterator[Misfit]:
    """Datasets, fields and values that cannot be there; fields that cannot serve as a day or an occurrence."""
    of_persons = {n: d.dataset for n, d in named_datasets(sources).items() if d.dataset.role != "reference"}
    evidence = {name: dataset for name, dataset in of_persons.items() if dataset.role == "evidence"}
    for i, programme in enumerate(catalogue.programmes):
        for j, achievement in enumerate(programme.achievements):
            path: Path = ("catalogue", "programmes", i, "achievements", j)
            for k, rule in enumerate(achievement.earned_by):
                dataset = evidence.get(rule.dataset)
                if dataset is None:
                    what = f"achievement {achievement.id}: {rule.dataset} is not a dataset of evidence"
                    remedy = suggest(rule.dataset, evidence, otherwise="datasets of evidence are")
                    yield Misfit((*path, "earned_by", k, "dataset"), what, remedy)
                else:
                    yield from _misfits_of_rule(achievement, rule, dataset, path, k)
            for k, required in enumerate(achievement.renewal.requires if achievement.renewal else ()):
                at: Path = (*path, "renewal", "requires", k)
                dataset = of_persons.get(required.dataset or "")
                if dataset is not None:
                    yield from _misfits_of_requirement(achievement, required, dataset, at)
                elif required.dataset is not None:
                    what = f"achievement {achievement.id}: {required.dataset} is not a dataset of people or evidence"
                    remedy = suggest(required.dataset, of_persons, otherwise="such datasets are")
                    yield Misfit((*at, "dataset"), what, remedy)


def _misfits_of_requirement(
    achievement: Achievement, required: Requirement, dataset: Dataset, path: Path
) -> Iterator[Misfit]:
    name = str(required.dataset)
    used: dict[Path, str] = {(*path, "where", field): field for field in required.where}
    if required.dated_on:
        used[*path, "dated_on"] = required.dated_on
    for at, field in used.items():
        if field not in dataset.fields:
            what = f"achievement {achievement.id}: {name} has no field {field}"
            yield Misfit(at, what, suggest(field, dataset.fields, otherwise="it has"))
    if required.dated_on in dataset.fields and required.dated_on not in _days(dataset):
        what = f"achievement {achievement.id}: nothing checks that {name}.{required.dated_on} is a date"
        remedy = f"add `{{check: date, field: {required.dated_on}}}` to the gate of {name}"
        yield Misfit((*path, "dated_on"), what, remedy)
    yield from _values_never_there(achievement, name, required.where, dataset, path)


def _days(dataset: Dataset) -> set[str]:
    """Fields that are a date wherever they are there."""
    checked = {c.field for c in dataset.gate.checks if isinstance(c, Date)}
    return checked | {step.field for step in dataset.derive if isinstance(step, CodeDate)}


def _values_never_there(
    achievement: Achievement, name: str, where: Mapping[str, Sequence[str]], dataset: Dataset, path: Path
) -> Iterator[Misfit]:
    sets = {c.field: c.values for c in dataset.gate.checks if isinstance(c, OneOf)}
    for field, values in where.items():
        for value in sorted(set(values) - set(sets.get(field, values))):
            what = f"achievement {achievement.id}: the gate of {name} never lets {field} be {value}"
            yield Misfit((*path, "where", field), what, suggest(value, sets[field], otherwise="it lets pass"))


def _misfits_of_rule(
    achievement: Achievement, rule: Rule, dataset: Dataset, path: Path, position: int
) -> Iterator[Misfit]:
    where: Path = (*path, "earned_by", position)
    days = _days(dataset)
    used: dict[Path, str] = {(*where, "where", field): field for field in rule.where}
    used[*where, "awarded_on"] = rule.awarded_on
    used |= {(*path, "results", i, "field"): result.field for i, result in enumerate(achievement.results)}
    used |= {(*path, "evidence", i, "field"): shown.field for i, shown in enumerate(achievement.evidence)}
    if achievement.narrative:
        used[*path, "narrative"] = achievement.narrative
    if isinstance(achievement.occurrence, Occurrence):
        per = achievement.occurrence.per
        used[*path, "occurrence", "per"] = per
        if per in days:
            what = f"achievement {achievement.id}: {per} is a date, and a corrected date would be a second award"
            yield Misfit((*path, "occurrence", "per"), what, "name a term, a run or a period, or write `once`")
    for at, field in used.items():
        if field not in dataset.fields:
            what = f"achievement {achievement.id}: {rule.dataset} has no field {field}"
            yield Misfit(at, what, suggest(field, dataset.fields, otherwise="it has"))
    if rule.awarded_on in dataset.fields and rule.awarded_on not in days:
        what = f"achievement {achievement.id}: nothing checks that {rule.dataset}.{rule.awarded_on} is a date"
        remedy = f"add `{{check: date, field: {rule.awarded_on}}}` to the gate of {rule.dataset}"
        yield Misfit((*where, "awarded_on"), what, remedy)
    yield from _values_never_there(achievement, rule.dataset, rule.where, dataset, where)


def _misfits_of_derivations(dataset: Dataset, path: Path, named: dict[str, DatasetOfSource]) -> Iterator[Misfit]:
    for k, step in enumerate(dataset.derive):
        if isinstance(step, CodeDate):
            continue
        at: Path = (*path, "derive", k)
        other = named.get(step.dataset)
        if other is None:
            remedy = suggest(step.dataset, named, otherwise="datasets are")
            yield Misfit((*at, "dataset"), f"no such dataset: {step.dataset}", remedy)
            continue
        fields: dict[Path, str] = {(*at, "match", here): there for here, there in step.match.items()}
        if isinstance(step, WeightedMean):
            fields |= {(*at, "value"): step.value, (*at, "weight"): step.weight}
        else:
            fields |= {(*at, "take"): step.take}
        for member, field in fields.items():
            yield from _unknown_field(field, other, member)


def _misfits_of_references(dataset: Dataset, path: Path, named: dict[str, DatasetOfSource]) -> Iterator[Misfit]:
    for k, check in enumerate(dataset.gate.checks):
        if not isinstance(check, Reference):
            continue
        at: Path = (*path, "gate", "checks", k, "to")
        other = named.get(check.dataset)
        if other is None:
            remedy = suggest(check.dataset, named, otherwise="datasets are")
            yield Misfit(at, f"no such dataset: {check.dataset}", remedy)
        else:
            yield from _unknown_field(check.referred_field, other, at)


def _unknown_field(field: str, dataset: DatasetOfSource, path: Path) -> Iterator[Misfit]:
    fields = dataset.dataset.fields
    if field not in fields:
        yield Misfit(path, f"{dataset.name} has no field {field}", suggest(field, fields, otherwise="it has"))


def _unknown_source(source: str, ids: set[str], path: Path) -> Iterator[Misfit]:
    if source not in ids:
        yield Misfit(path, f"no such source: {source}", suggest(source, ids, otherwise="sources are"))


def _circle(sources: Sequence[Source], named: dict[str, DatasetOfSource]) -> Iterator[Misfit]:
    known = {name: [needed for needed in d.needs if needed in named] for name, d in named.items()}
    try:
        tuple(TopologicalSorter(known).static_order())
    except CycleError as error:
        circle: list[str] = error.args[1]
        positions = {
            f"{source.id}.{dataset.id}": (i, j)
            for i, source in enumerate(sources)
            for j, dataset in enumerate(source.datasets)
        }
        i, j = min(positions[name] for name in circle)
        what = f"datasets need each other in a circle: {' -> '.join(circle)}"
        yield Misfit(("sources", i, "datasets", j), what, "take one of the lookups or references out")
