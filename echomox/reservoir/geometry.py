"""The manifold of emotional states and its Ricci flow: extremes are smoothed out before anything reads a profile.

A graph has the emotions as nodes; an edge joins two that are near each other, its weight at rest is how alike they
are. A metric is a positive number g per edge, its squared length; where nothing is felt g = 1 / likeness. What is
felt stretches the edges around it (`metric`). Curvature is Forman's (R. Forman, "Bochner's method for cell complexes
and combinatorial Ricci curvature", 2003) for a graph without faces, with nodes of weight 1 and edges of weight
w = 1 / g:

    F(e) = 2 - sum over edges e' that share a node with e of sqrt(w_e / w_e')

and the Ricci tensor on the one-dimensional edge e is F(e) g_e, as it is K g on a surface. So the flow is

    dg_e/dt = -2 Ric_e = -2 F(e) g_e                                                (1)

In lengths y = sqrt(g), with A the matrix that says which edges share a node, F(e) = 2 - (A y)_e / y_e, and (1) is

    dy/dt = (A - 2 I) y                                                             (2)

which is linear. It is taken in steps of h <= 1/2 and normalised, so that the sum of lengths stays what it was:

    y <- y + h (A y - 2 y),    y <- y * (sum before) / (sum after)                  (3)

(normalising adds a constant to the curvature term of (1), no more). The matrix of a step has no negative entries and
commutes with A, so by Collatz and Wielandt the greatest F never rises and the least never falls: whatever the
beginning, the spread of curvature shrinks, towards the one metric of constant curvature 2 - rho(A). On a cycle, (2)
is the heat equation; equal lengths on a cycle or a complete graph are at rest.

`smooth` goes from a profile to its metric, STEPS steps along the flow, and back to the profile that fits the
stretches best, read against the metric of rest that has flowed as long. All of that but the normalising is
one linear map, which is computed once. Pure; no state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

EMOTIONS = ("joy", "sadness", "anger", "fear", "disgust", "interest", "surprise")
LIKENESS: tuple[tuple[str, str, float], ...] = (
    ("joy", "interest", 0.8),
    ("joy", "surprise", 0.5),
    ("interest", "surprise", 0.7),
    ("surprise", "fear", 0.6),
    ("interest", "fear", 0.3),
    ("fear", "sadness", 0.5),
    ("fear", "anger", 0.4),
    ("sadness", "anger", 0.5),
    ("anger", "disgust", 0.8),
    ("sadness", "disgust", 0.4),
    ("fear", "disgust", 0.4),
)
"""Which emotions are near each other, and how alike they are, 0 to 1; sources in docs/affect.md."""
STEPS = 5
STEP = 0.02
LARGEST_STEP = 0.5
"""Up to here a step keeps lengths positive and the spread of curvature from growing."""


class Graph(NamedTuple):
    """touching: (m, m) of 0 and 1, which of the m edges share a node. ends: (m, n), 1/2 at both ends of each edge, so
    that `ends @ x` is the mean of a node function on the edges."""

    touching: Matrix
    ends: Matrix


def graph(nodes: int, edges: Sequence[tuple[int, int]]) -> Graph:
    """edges: pairs of different nodes, each pair once. Raises ValueError for others."""
    if len({frozenset(edge) for edge in edges}) != len(edges) or any(a == b for a, b in edges):
        raise ValueError("a graph needs edges between different nodes, each once")
    ends = np.zeros((len(edges), nodes))
    for row, edge in enumerate(edges):
        ends[row, list(edge)] = 0.5
    shared = ends @ ends.T * 4.0
    np.fill_diagonal(shared, 0.0)
    return Graph(shared, ends)


def curvature(shape: Graph, metric: Vector) -> Vector:
    """Forman-Ricci curvature F of every edge. metric: (m,), g > 0, squared lengths."""
    lengths = np.sqrt(metric)
    return 2.0 - shape.touching @ lengths / lengths


def flow(shape: Graph, metric: Vector, steps: int, step: float) -> Vector:
    """The metric after `steps` of the normalised flow (3); the sum of lengths is that of before. step: time of each,
    in (0, LARGEST_STEP]; ValueError beyond."""
    if not 0.0 < step <= LARGEST_STEP:
        raise ValueError(f"a step of the flow is above 0 and at most {LARGEST_STEP}")
    lengths = np.sqrt(metric)
    total = lengths.sum()
    for _ in range(steps):
        lengths = lengths + step * (shape.touching @ lengths - 2.0 * lengths)
        lengths *= total / lengths.sum()
    return lengths**2


def _emotional() -> tuple[Graph, Vector]:
    """The graph of EMOTIONS, and the metric of rest."""
    index = {name: at for at, name in enumerate(EMOTIONS)}
    edges = [(index[a], index[b]) for a, b, _ in LIKENESS]
    return graph(len(EMOTIONS), edges), 1.0 / np.array([likeness for _, _, likeness in LIKENESS])


SPACE, REST = _emotional()


def metric(profile: Sequence[float]) -> Vector:
    """The metric of a profile (7 values, 0 to 1): each edge is longer than at rest by the mean of what is felt at its
    ends, sqrt(g) = sqrt(g of rest) * (1 + mean)."""
    return REST * (1.0 + SPACE.ends @ np.asarray(profile, dtype=np.float64)) ** 2


def profile_of(found: Vector, rest: Vector) -> Vector:
    """The reverse of `metric` by least squares: the 7 values whose stretches come nearest to those of `found`
    against `rest`."""
    stretch = np.sqrt(found / rest) - 1.0
    return np.asarray(np.linalg.lstsq(SPACE.ends, stretch, rcond=None)[0], dtype=np.float64)


def _columns(steps: int, step: float) -> tuple[tuple[float, ...], ...]:
    """The linear map of `smooth`: for each emotion what it adds to the sum of lengths before and after the steps, in
    shares of those of rest, and then to each of the seven stretches. With D the lengths of rest, P the steps without
    normalising, M = ends: lengths after are P D (1 + M x), those of rest P D 1; their quotient is 1 + T M x with T of
    row sums 1, and M's pseudo-inverse leads back to emotions."""
    edges = len(REST)
    lengths = np.sqrt(REST)
    taken = np.linalg.matrix_power(np.eye(edges) + step * (SPACE.touching - 2.0 * np.eye(edges)), steps)
    rest = taken @ lengths
    gain = taken @ (lengths[:, None] * SPACE.ends)
    back = np.linalg.pinv(SPACE.ends) @ (gain / rest[:, None])
    sums = (lengths @ SPACE.ends / lengths.sum(), gain.sum(axis=0) / rest.sum())
    return tuple(tuple(column) for column in np.vstack((*sums, back)).T.tolist())


_MAP = _columns(STEPS, STEP)


def smooth(profile: Sequence[float]) -> tuple[float, ...]:
    """The profile after STEPS of the flow, each value 0 to 1. profile: 7 values, 0 to 1, in the order of EMOTIONS;
    nothing felt stays nothing. In plain floats: seven numbers, most of them 0, are too few for arrays, and the bits
    are the same in any batch."""
    sums = (1.0,) * (2 + len(EMOTIONS))
    for value, column in zip(profile, _MAP):
        if value:
            sums = tuple([total + value * share for total, share in zip(sums, column)])
    before, after, *stretches = sums
    scale = before / after
    return tuple([min(max(scale * stretch - 1.0, 0.0), 1.0) for stretch in stretches])
