"""Agreement: what two heads say together, where both see the same queries.

Fisher's method (Statistical Methods for Research Workers, 1932) multiplies p-values of independent heads. Heads are not
independent among honest clients: a tester is odd to all of them. But they are taken to be odd together in the worst way
there is: the share of clients that is oddest to one head is taken to be the share that is oddest to every other, and
only among those do heads see different things.

A client is of a sort that the reference shows or of another, and two heads have to agree about each: what a new device
explains of one head is no evidence of theft, however far out the other says that the client is. Of another sort may be
one that asks about little, such as an airline of one route: that puts its mean far out and makes its queries nearly
repeat at once, so these two say no more of such a client than the less sure one does (``at_once``).
"""

from __future__ import annotations

import numpy as np

from detectors.extraction.tails import MADE_UP_BEYOND, SHARE_BEYOND, Heard, mixed


def together(first: Heard, second: Heard) -> float:
    """Natural log of the p-value of two heads that see the same client."""
    return mixed(
        both(first.shown, second.shown, SHARE_BEYOND),
        both(first.unshown, second.unshown, MADE_UP_BEYOND),
        max(first.weight, second.weight),
    )


def at_once(first: Heard, second: Heard) -> float:
    """The same of heads to which clients of another sort are odd for one and the same reason."""
    return mixed(
        both(first.shown, second.shown, SHARE_BEYOND),
        max(first.unshown, second.unshown),
        max(first.weight, second.weight),
    )


def both(first: float, second: float, odd: float) -> float:
    """Natural log of the p-value of two, given by their natural logs, where the same share ``odd`` of clients is odd to
    both and the two are independent among those; 0 where one of them is not below ``odd``, for then they do not agree.
    """
    least = float(np.log(odd))
    if max(first, second) >= least:
        return 0.0
    product = first + second - 2.0 * least
    return least + product + float(np.log1p(-product))
