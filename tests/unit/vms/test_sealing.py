from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.errors import MalformedError
from vms.sealing import Sealer

KEY = bytes(range(32))


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_was_sealed_opens_under_its_context(plain: bytes, context: str) -> None:
    sealed = Sealer(KEY).seal(plain, context)
    assert Sealer(KEY).unseal(sealed, context) == plain
    assert Sealer(KEY).unseal(sealed, context.encode()) == plain


def test_two_sealings_differ() -> None:
    sealer = Sealer(KEY)
    assert sealer.seal(b"tajne", "x") != sealer.seal(b"tajne", "x")


@given(st.integers(0, 8 * 33 - 1))
def test_a_changed_bit_is_noticed(bit: int) -> None:
    sealed = bytearray(Sealer(KEY).seal(b"tajne", "camera password"))
    sealed[bit // 8 % len(sealed)] ^= 1 << bit % 8
    with pytest.raises(MalformedError) as caught:
        Sealer(KEY).unseal(bytes(sealed), "camera password")
    assert "camera password" in str(caught.value)
    assert "tajne" not in str(caught.value)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" * 28, b"\x02" + bytes(40)])
def test_what_is_no_sealed_value_is_refused(sealed: bytes) -> None:
    with pytest.raises(MalformedError):
        Sealer(KEY).unseal(sealed, "x")


def test_another_context_or_key_does_not_open() -> None:
    sealed = Sealer(KEY).seal(b"tajne", "camera 1")
    with pytest.raises(MalformedError, match=r"site\.key"):
        Sealer(KEY).unseal(sealed, "camera 2")
    with pytest.raises(MalformedError, match=r"site\.key"):
        Sealer(bytes(32)).unseal(sealed, "camera 1")


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32"):
        Sealer(b"short")
