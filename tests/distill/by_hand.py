"""Distillation losses once more, written as loops over numbers from the papers' formulas, in Python's float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]


def softmax(row: Sequence[float], tau: float) -> list[float]:
    exponentials = [math.exp((value - max(row)) / tau) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def dkd_of_class(student: Sequence[float], teacher: Sequence[float], target: int, tau: float) -> tuple[float, float]:
    """TCKD and NCKD of one image with one target class, times tau^2."""
    s, t = softmax(student, tau), softmax(teacher, tau)
    rest = [j for j in range(len(s)) if j != target]
    left_s, left_t = sum(s[j] for j in rest), sum(t[j] for j in rest)
    tckd = divergence([t[target], left_t], [s[target], left_s])
    nckd = divergence([t[j] / left_t for j in rest], [s[j] / left_s for j in rest])
    return tau**2 * tckd, tau**2 * nckd


def dkd(student: Rows, teacher: Rows, target: Rows, tau: float) -> tuple[float, float]:
    """Means over images of the expectations over the target's classes, given as probabilities."""
    totals = [0.0, 0.0]
    for s, t, probabilities in zip(student, teacher, target, strict=True):
        for label, share in enumerate(probabilities):
            for part, value in enumerate(dkd_of_class(s, t, label, tau)):
                totals[part] += share * value / len(student)
    return totals[0], totals[1]


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's r."""
    n = len(one)
    a, b = [x - sum(one) / n for x in one], [x - sum(other) / n for x in other]
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def dist(student: Rows, teacher: Rows, tau: float) -> tuple[float, float]:
    """The losses among classes and among images, times tau^2."""
    s, t = [softmax(row, tau) for row in student], [softmax(row, tau) for row in teacher]
    columns = list(zip(*s, strict=True)), list(zip(*t, strict=True))
    inter = sum(1 - correlation(a, b) for a, b in zip(s, t, strict=True)) / len(s)
    intra = sum(1 - correlation(a, b) for a, b in zip(*columns, strict=True)) / len(columns[0])
    return tau**2 * inter, tau**2 * intra


def pooled(plane: Rows, size: int) -> list[list[float]]:
    """A square plane averaged over equal blocks down to ``size`` x ``size``."""
    block = len(plane) // size
    return [
        [
            sum(plane[block * i + a][block * j + b] for a in range(block) for b in range(block)) / block**2
            for j in range(size)
        ]
        for i in range(size)
    ]


def directions(student: Sequence[Rows], teacher: Sequence[Rows], size: int) -> float:
    """Mean over places of the squared distance of unit vectors along the channels, of one image (C, H, W)."""
    s, t = [pooled(plane, size) for plane in student], [pooled(plane, size) for plane in teacher]
    total = 0.0
    for i in range(size):
        for j in range(size):
            a, b = [plane[i][j] for plane in s], [plane[i][j] for plane in t]
            length_a, length_b = math.hypot(*a), math.hypot(*b)
            total += sum((x / length_a - y / length_b) ** 2 for x, y in zip(a, b, strict=True))
    return total / size**2
