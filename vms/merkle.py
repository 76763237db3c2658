"""Merkle trees of RFC 6962 §2.1 (RFC 9162 §2.1 says the same): hashes, growth, proofs and their verification. Pure.

SHA-256. A tree over n leaves; `node(level, position)` is the root of the whole subtree over leaves
[position·2^level, (position+1)·2^level). Owns no entries and no storage: whoever keeps the leaves gives `node`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeAt = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Node:
    """The root of a subtree that has become whole."""

    level: int
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """What must be known of a tree to go on appending: its size, and the roots of its whole subtrees, largest first."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, list[Node]]:
        """The tree with one more leaf, and the subtrees that are whole because of it, the leaf itself first."""
        made = [Node(0, self.size, leaf)]
        roots, level, position = list(self.roots), 0, self.size
        while position & 1:
            leaf = node_hash(roots.pop(), leaf)
            level, position = level + 1, position >> 1
            made.append(Node(level, position, leaf))
        return Frontier(self.size + 1, (*roots, leaf)), made

    def root(self) -> bytes:
        """The tree head."""
        if not self.roots:
            return EMPTY_ROOT
        head = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            head = node_hash(left, head)
        return head


def frontier_of(size: int, node: NodeAt) -> Frontier:
    """The frontier of the first `size` leaves."""
    roots, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            roots.append(node(level, start >> level))
            start += 1 << level
    return Frontier(size, tuple(roots))


def inclusion_path(number: int, size: int, node: NodeAt) -> list[bytes]:
    """The audit path of leaf `number` in the tree of `size` (RFC 6962 §2.1.1). ValueError outside of it."""
    if not 0 <= number < size:
        raise ValueError(f"there is no leaf {number} in a tree of {size}")
    return _path(number, 0, size, node)


def consistency_path(first: int, size: int, node: NodeAt) -> list[bytes]:
    """That the tree of `first` leaves is where the one of `size` began (RFC 6962 §2.1.2). ValueError unless 1 ≤ first ≤ size."""
    if not 1 <= first <= size:
        raise ValueError(f"a tree of {size} did not grow from one of {first}")
    return _subproof(first, 0, size, node, whole=True)


def verify_inclusion(leaf: bytes, number: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162 §2.1.3.2."""
    if not 0 <= number < size:
        return False
    fn, sn, head = number, size - 1, leaf
    for sibling in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            head = node_hash(sibling, head)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            head = node_hash(head, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and head == root


def verify_consistency(first: int, first_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """RFC 9162 §2.1.4.2."""
    if not 1 <= first <= size:
        return False
    if first == size:
        return not path and first_root == root
    proof = list(path)
    if first & (first - 1) == 0:
        proof.insert(0, first_root)
    if not proof:
        return False
    fn, sn = first - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = proof[0]
    for sibling in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old == first_root and new == root


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _head(start: int, end: int, node: NodeAt) -> bytes:
    """The head of leaves [start, end), of which `start` is a multiple of the next power of two."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(_head(start, middle, node), _head(middle, end, node))


def _path(number: int, start: int, end: int, node: NodeAt) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if number < middle:
        return [*_path(number, start, middle, node), _head(middle, end, node)]
    return [*_path(number, middle, end, node), _head(start, middle, node)]


def _subproof(first: int, start: int, end: int, node: NodeAt, *, whole: bool) -> list[bytes]:
    if first == end:
        return [] if whole else [_head(start, end, node)]
    middle = start + _split(end - start)
    if first <= middle:
        return [*_subproof(first, start, middle, node, whole=whole), _head(middle, end, node)]
    return [*_subproof(first, middle, end, node, whole=False), _head(start, middle, node)]
