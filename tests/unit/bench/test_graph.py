"""The longest chain of waits."""

from __future__ import annotations

from typing import Any

from bench.graph import longest


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:s::p::{kind}::{name}"


def resource(kind: str, name: str, *before: str, **more: Any) -> dict[str, Any]:
    return {"urn": urn(kind, name), "type": kind, "dependencies": list(before), **more}


def test_the_longest_of_two_ways() -> None:
    short, long, end = urn("t", "short"), urn("t", "long"), urn("t", "end")
    state = [resource("t", "short"), resource("t", "long"), resource("t", "end", short, long)]
    chain = longest(state, {short: 1, long: 5, end: 2})
    assert chain.seconds == 7
    assert [name for name, _ in chain.steps] == ["t long", "t end"]


def test_a_component_of_a_plugin_ends_with_what_is_in_it() -> None:
    plane, addon = urn("eks:index:Cluster", "c"), urn("t", "addon")
    state = [
        resource("eks:index:Cluster", "c"),
        resource("inner", "i", parent=plane),
        resource("t", "addon", parent=urn("inner", "i")),
        resource("t", "nodes", plane),
    ]
    assert longest(state, {addon: 3, urn("t", "nodes"): 4}).seconds == 7


def test_a_resource_waits_for_its_provider() -> None:
    provider, nodes = urn("pulumi:providers:kubernetes", "p"), urn("t", "nodes")
    state = [
        resource("t", "nodes"),
        resource("pulumi:providers:kubernetes", "p", nodes),
        resource("t", "pod", provider=f"{provider}::some-id"),
    ]
    assert longest(state, {nodes: 3, urn("t", "pod"): 1}).seconds == 4


def test_what_is_in_a_component_waits_for_what_the_component_waits_for() -> None:
    adapter, chart = urn("t", "adapter"), urn("kubernetes:helm.sh/v4:Chart", "triton")
    state = [resource("t", "adapter"), resource("kubernetes:helm.sh/v4:Chart", "triton", adapter), resource("t", "pod", parent=chart)]
    assert longest(state, {adapter: 3, urn("t", "pod"): 1}).seconds == 4


def test_nothing_takes_no_time() -> None:
    assert longest([], {}).seconds == 0
