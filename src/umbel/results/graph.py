"""Which result led to which: the graph of a result's children, and its drawing for Graphviz.

``result.graph`` and ``result.build_graph()`` give it. The language of the drawing is DOT
(https://graphviz.org/doc/info/lang.html); attributes, colours and names are those of Celery's, so
that scripts which look at either read both.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TextIO


class CycleError(Exception):
    """A graph that was to be sorted has a cycle."""


class GraphFormatter:
    """Writes graphs, nodes and edges in DOT; subclass it, or name attributes, for another look."""

    scheme: ClassVar[dict[str, Any]] = {
        "shape": "box",
        "arrowhead": "vee",
        "style": "filled",
        "fontname": "HelveticaNeue",
    }
    edge_scheme: ClassVar[dict[str, Any]] = {
        "color": "darkseagreen4",
        "arrowcolor": "black",
        "arrowsize": 0.7,
    }
    node_scheme: ClassVar[dict[str, Any]] = {"fillcolor": "palegreen3", "color": "palegreen4"}
    term_scheme: ClassVar[dict[str, Any]] = {"fillcolor": "palegreen1", "color": "palegreen2"}
    graph_scheme: ClassVar[dict[str, Any]] = {"bgcolor": "mintcream"}

    def __init__(
        self,
        root: Any = None,
        type: str | None = None,  # noqa: A002 - Celery's name
        id: str | None = None,  # noqa: A002 - Celery's name
        indent: int = 0,
        inw: str = " " * 4,
        **scheme: Any,
    ) -> None:
        self.root = root
        self.type = type or "digraph"
        self.id = id or "dependencies"
        self.direction = {"graph": "--", "digraph": "->"}[self.type]
        self._outer = inw * indent
        self._inner = inw * (indent + 1)
        self.scheme = {**self.scheme, **scheme}  # type: ignore[misc]  # the class has the defaults
        self.graph_scheme = {  # type: ignore[misc]  # as above
            **self.graph_scheme,
            "root": self.label(root),
        }

    def label(self, obj: Any) -> Any:
        """What is written of a node, by default what ``str`` makes of it."""
        return obj

    def attrs(self, attributes: Mapping[str, Any], scheme: Mapping[str, Any] | None = None) -> str:
        """Attributes as DOT writes them."""
        said = {**self.scheme, **(scheme or {}), **attributes}
        return ", ".join(f'{name}="{value}"' for name, value in said.items())

    def head(self, **attributes: Any) -> str:
        """The beginning of a drawing."""
        return (
            f"{self._outer}{self.type} {self.id} {{\n"
            f"{self._inner}graph [{self.attrs(attributes, self.graph_scheme)}]"
        )

    def tail(self) -> str:
        """The end of a drawing."""
        return f"{self._outer}}}"

    def node(self, obj: Any, **attributes: Any) -> str:
        """A node that something follows from."""
        return self.draw_node(obj, self.node_scheme, attributes)

    def terminal_node(self, obj: Any, **attributes: Any) -> str:
        """A node that nothing follows from."""
        return self.draw_node(obj, self.term_scheme, attributes)

    def edge(self, a: Any, b: Any, **attributes: Any) -> str:
        """From a node to one that follows from it."""
        return self.draw_edge(a, b, self.edge_scheme, attributes)

    def draw_node(
        self, obj: Any, scheme: Mapping[str, Any] | None, attributes: Mapping[str, Any]
    ) -> str:
        """A node with the attributes of a scheme."""
        return f'{self._inner}"{self.label(obj)}" [{self.attrs(attributes, scheme)}]'

    def draw_edge(
        self, a: Any, b: Any, scheme: Mapping[str, Any] | None, attributes: Mapping[str, Any]
    ) -> str:
        """An edge with the attributes of a scheme."""
        ends = f'"{self.label(a)}" {self.direction} "{self.label(b)}"'
        return f"{self._inner}{ends} [{self.attrs(attributes, scheme)}]"


class DependencyGraph:
    """Nodes in the order in which they came, each with those that follow from it."""

    def __init__(
        self,
        it: Iterable[tuple[Hashable, Iterable[Hashable]]] | None = None,
        formatter: GraphFormatter | None = None,
    ) -> None:
        self.formatter = formatter or GraphFormatter()
        self.adjacent: dict[Any, list[Any]] = {}
        if it is not None:
            self.update(it)

    def add_arc(self, obj: Hashable) -> None:
        """Add a node."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, a: Hashable, b: Hashable) -> None:
        """Say that ``b`` follows from ``a``, which is there. Raises ``KeyError`` if it is not."""
        self.adjacent[a].append(b)

    def update(self, it: Iterable[tuple[Hashable, Iterable[Hashable]]]) -> None:
        """Add pairs of a node and what follows from it."""
        pairs = [(obj, list(following)) for obj, following in it]
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, following in pairs:
            for other in following:
                self.add_arc(other)
                self.add_edge(obj, other)

    def connect(self, graph: DependencyGraph) -> None:
        """Add the nodes and edges of another graph."""
        self.adjacent.update(graph.adjacent)

    def topsort(self) -> list[Any]:
        """All nodes, each after those that follow from it. Raises ``CycleError``."""
        done: dict[Any, bool] = {}  # False: its followers are being looked at
        order = []
        # No recursion: a chain may be longer than the interpreter's stack is deep.
        for start in self.adjacent:
            stack = [(start, iter(self.adjacent[start]))] if start not in done else []
            done.setdefault(start, False)
            while stack:
                node, rest = stack[-1]
                follower = next((other for other in rest if not done.get(other)), None)
                if follower is None:
                    stack.pop()
                    done[node] = True
                    order.append(node)
                elif follower in done:
                    raise CycleError(f"{follower} follows from itself")
                else:
                    done[follower] = False
                    stack.append((follower, iter(self.adjacent.get(follower, ()))))
        return order

    def valency_of(self, obj: Hashable) -> int:
        """How many edges lead on from a node, and from those that follow from it."""
        following = self.adjacent[obj]
        return len(following) + sum(self.valency_of(other) for other in following)

    def edges(self) -> Iterator[Any]:
        """Nodes from which something follows."""
        return (obj for obj, following in self.adjacent.items() if following)

    def items(self) -> Iterator[tuple[Any, list[Any]]]:
        """Pairs of a node and the list of what follows from it."""
        return iter(self.adjacent.items())

    iteritems = items

    def to_dot(self, fh: TextIO, formatter: GraphFormatter | None = None) -> None:
        """Draw it into a text file, for ``dot -Tpng``."""
        draw = formatter or self.formatter
        drawn: set[Any] = set()
        lines = [draw.head()]
        for obj, following in self.adjacent.items():
            if not following:
                if obj not in drawn:
                    lines.append(draw.terminal_node(obj))
            else:
                if obj not in drawn:
                    lines.append(draw.node(obj))
                for other in following:
                    if other not in drawn and other not in self.adjacent:
                        lines.append(draw.terminal_node(other))
                        drawn.add(other)
                    lines.append(draw.edge(obj, other))
            drawn.add(obj)
        lines.append(draw.tail())
        fh.write("\n".join(lines) + "\n")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __getitem__(self, obj: Hashable) -> list[Any]:
        return self.adjacent[obj]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def __repr__(self) -> str:
        return "\n".join(self.repr_node(obj) for obj in self.adjacent)

    def repr_node(self, obj: Hashable, level: int = 1, fmt: str = "{0}({1})") -> str:
        """A node and what follows from it, indented."""
        lines = [fmt.format(obj, self.valency_of(obj))]
        for other in self.adjacent[obj]:
            deeper = self.repr_node(other, level + 1, fmt)
            lines.append("     " * level + deeper)
        return "\n".join(lines)
