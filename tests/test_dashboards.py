"""The dashboard and the alert rules ask for what the page of a real agent has, and in PromQL that a parser takes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.host import running
from tests.upstream import upstream

DOCS = Path(__file__).parents[1] / "docs"
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
RULES = [rule for group in yaml.safe_load((DOCS / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
ADDED = {"instance", "job", "le"}
"""Labels that Prometheus adds, and the one of histograms."""
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
EXPRESSIONS = [*(rule["expr"] for rule in RULES), *(each.replace("$__rate_interval", "5m") for each in QUERIES)]
_LABELS_OF_RESULT = re.compile(r"\$labels\.(\w+)|\{\{(\w+)\}\}")


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Of each metric of a real page, after traffic."""
    return asyncio.run(_labels())


async def _labels() -> dict[str, set[str]]:
    with running() as host:
        await host.agent.until_ready()
        async with upstream("users") as users:
            host.put("users", users.port)
            await host.call("users")
            _, text = await host.agent.ask("/metrics")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(expression: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    match expression:
        case promql_parser.VectorSelector():
            yield expression
        case promql_parser.MatrixSelector():
            yield expression.vector_selector
        case promql_parser.Call():
            for each in expression.args:
                yield from selectors(each)
        case promql_parser.BinaryExpr():
            yield from selectors(expression.lhs)
            yield from selectors(expression.rhs)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr():
            yield from selectors(expression.expr)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise AssertionError(f"{expression!r} is not looked into here")


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_every_metric_and_label_asked_for_is_on_the_page(text: str, labels: dict[str, set[str]]) -> None:
    asked = list(selectors(promql_parser.parse(text)))
    assert asked
    for each in asked:
        assert each.name in labels, each.name
        for matcher in each.matchers.matchers:
            assert matcher.name in labels[each.name] | ADDED, (each.name, matcher.name)
    grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", text) for label in by.split(",")}
    assert grouped <= set().union(*(labels[each.name] for each in asked)) | ADDED


def aggregated(text: str) -> set[str] | None:
    """The labels that the result has, where an aggregation says so."""
    found = re.findall(r"by \(([^)]*)\)", text)
    return {label.strip() for label in found[0].split(",")} if found else None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_tells_what_its_result_has(rule: dict[str, object], labels: dict[str, set[str]]) -> None:
    text = str(rule["expr"])
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert not rule.get("for") or re.fullmatch(r"\d+[smh]", str(rule["for"]))
    told = {one or other for one, other in _LABELS_OF_RESULT.findall(json.dumps(rule["annotations"]))}
    (name, *_) = (each.name for each in selectors(promql_parser.parse(text)))
    assert told <= (aggregated(text) or labels[name] | ADDED)


def test_legends_tell_what_their_query_has(labels: dict[str, set[str]]) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            told = {other for _, other in _LABELS_OF_RESULT.findall(target["legendFormat"])}
            assert told <= (aggregated(target["expr"]) or ADDED), target


def test_the_dashboard_has_what_it_is_for() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert len(rows) == 5
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 15


def test_a_metric_that_is_not_there_is_noticed() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promql_parser.parse("sum by (x (y)")
    (found,) = selectors(promql_parser.parse('sum by (name) (rate(tieline_nothing{a="b"}[5m]))'))
    assert (found.name, found.matchers.matchers[0].name) == ("tieline_nothing", "a")
