"""Graphs of results: their order, their drawing, and what can't be sorted."""

from io import StringIO

import pytest

from umbel.results.graph import CycleError, DependencyGraph, GraphFormatter


@pytest.fixture
def graph():
    """``a`` leads to ``b`` and ``c``, ``b`` to ``d``."""
    return DependencyGraph([("a", ["b", "c"]), ("b", ["d"])])


def test_a_graph_is_its_nodes_in_the_order_in_which_they_came(graph):
    assert list(graph) == ["a", "b", "c", "d"]
    assert (len(graph), graph["a"], "d" in graph) == (4, ["b", "c"], True)
    assert list(graph.edges()) == ["a", "b"]
    assert (graph.valency_of("a"), graph.valency_of("d")) == (3, 0)


def test_sorting_puts_first_what_nothing_follows_from(graph):
    assert graph.topsort() == ["d", "b", "c", "a"]


def test_a_cycle_can_not_be_sorted(graph):
    graph.add_edge("d", "a")

    with pytest.raises(CycleError, match="follows from itself"):
        graph.topsort()


def test_a_chain_longer_than_the_stack_is_deep_can_be_sorted():
    chain = DependencyGraph((n, [n + 1]) for n in range(5000))

    assert chain.topsort() == list(range(5000, -1, -1))


def test_graphs_are_joined_and_drawn(graph):
    graph.connect(DependencyGraph([("x", [])]))
    text = StringIO()

    graph.to_dot(text, GraphFormatter(type="graph", id="mine", shape="oval"))

    lines = text.getvalue().splitlines()
    assert lines[0] == "graph mine {"
    assert [line.split(" [")[0].strip() for line in lines[2:-1]] == [
        '"a"',
        '"a" -- "b"',
        '"a" -- "c"',
        '"b"',
        '"b" -- "d"',
        '"c"',
        '"d"',
        '"x"',
    ]
    assert all('shape="oval"' in line for line in lines[1:-1])


def test_a_node_may_be_written_in_other_words(graph):
    class Words(GraphFormatter):
        def label(self, obj):
            return f"node {obj}"

    text = StringIO()
    graph.to_dot(text, Words())

    assert '"node a" -> "node b"' in text.getvalue()
    assert repr(graph).splitlines()[:2] == ["a(3)", "     b(1)"]
