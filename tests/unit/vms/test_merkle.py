"""Merkle trees against RFC 6962's own definitions, and proofs that hold for what they prove and for nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from vms.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    frontier_of,
    inclusion_path,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The test vectors of certificate-transparency implementations: eight inputs and the heads of the first n of them.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
HEADS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def head(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(head(leaves[:k]), head(leaves[k:]))


def nodes(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    return lambda level, position: head(leaves[position << level : (position + 1) << level])


def test_the_published_vectors() -> None:
    tree = Frontier()
    assert tree.root() == EMPTY_ROOT
    for text, wanted in zip(INPUTS, HEADS, strict=True):
        tree, _ = tree.append(leaf_hash(bytes.fromhex(text)))
        assert tree.root().hex() == wanted


@given(st.integers(0, 70))
def test_growing_gives_the_head_of_the_definition_and_every_whole_subtree(count: int) -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(count)]
    tree, made = Frontier(), []
    for leaf in leaves:
        tree, new = tree.append(leaf)
        made += new
    assert tree.root() == head(leaves)
    assert tree == frontier_of(count, nodes(leaves))
    assert all(n.hash == nodes(leaves)(n.level, n.position) for n in made)
    assert len(made) == sum(count >> level for level in range(8))


@given(st.integers(1, 70), st.data())
def test_inclusion_is_proved_for_the_leaf_alone(count: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(count)]
    number = data.draw(st.integers(0, count - 1))
    path, root = inclusion_path(number, count, nodes(leaves)), head(leaves)
    assert verify_inclusion(leaves[number], number, count, path, root)
    other = data.draw(st.integers(0, count).filter(lambda n: n != number))
    assert not verify_inclusion(leaves[number], other, count, path, root)
    assert not verify_inclusion(leaf_hash(b"another"), number, count, path, root)
    assert not verify_inclusion(leaves[number], number, count, [*path, root], root)
    if path:
        assert not verify_inclusion(leaves[number], number, count, path[:-1], root)


@given(st.integers(1, 70), st.data())
def test_consistency_is_proved_for_what_it_grew_from_alone(count: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(count)]
    first = data.draw(st.integers(1, count))
    before, after = head(leaves[:first]), head(leaves)
    path = consistency_path(first, count, nodes(leaves))
    assert verify_consistency(first, before, count, after, path)
    assert not verify_consistency(first, leaf_hash(b"another"), count, after, path)
    assert not verify_consistency(first, before, count, leaf_hash(b"another"), path)
    if first < count:
        assert not verify_consistency(first, before, count, after, path[:-1])
        assert not verify_consistency(first, before, count, after, [*path, before])
