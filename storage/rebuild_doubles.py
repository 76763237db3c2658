"""Several objects of one run and number: which of them the catalogue takes. Pure.

There can be but one segment of a number in a run; the other objects stay in the store and are told of.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage.catalogue.values import Registration


def choose_object(found: Sequence[Registration], stated: bytes | None) -> Registration:
    """The one a journal states by its digest; else whole before damaged, longer before shorter, larger before smaller.

    The same whatever their order.
    """

    def rank(item: Registration) -> tuple[bool, bool, int, int, str]:
        facts = item.facts
        length_ns = facts.end_ns - facts.start_ns
        return item.copy.digest != stated, facts.damaged_units > 0, -length_ns, -facts.size_bytes, item.copy.key

    return min(found, key=rank)
