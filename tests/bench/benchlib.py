# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians with their interval, and whether a target is met."""


def ordered(values):
    """(median, low, high): the order statistics that hold the median with 95% (binomial)."""
    v, n = sorted(values), len(values)
    k = max(0, int(n / 2 - 0.98 * n ** 0.5))
    return (v[n // 2] + v[(n - 1) // 2]) / 2, v[k], v[n - 1 - k]


def text(values, unit="", digits=2):
    return ("%.*f [%.*f, %.*f] %s" % (digits, ordered(values)[0], digits, ordered(values)[1], digits,
                                      ordered(values)[2], unit)).rstrip()


def verdict(values, at_most=None, at_least=None):
    """By the interval: met or missed if all of it is on one side, open if the target lies in it."""
    _, low, high = ordered(values)
    if at_most is not None:
        good, bad, target = high <= at_most, low > at_most, "at most %g" % at_most
    else:
        good, bad, target = low >= at_least, high < at_least, "at least %g" % at_least
    return "target %s: %s" % (target, "MET" if good else "MISSED" if bad else "OPEN (it lies in the interval)")
