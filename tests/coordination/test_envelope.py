from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.coordination.commands import Versioned
from ngx_agents.coordination.envelope import HEAD_BYTES, is_damaged, seal, unseal

versions = st.integers(0, 2**63 - 1)


@given(value=st.binary(), version=versions)
def test_what_is_sealed_is_read_back(value: bytes, version: int) -> None:
    sealed = seal(value, version)
    assert unseal(sealed) == Versioned(version, value)
    assert len(sealed) == len(value) + HEAD_BYTES


@given(value=st.binary(max_size=100), version=versions, data=st.data())
def test_one_changed_byte_is_noticed(value: bytes, version: int, data: st.DataObject) -> None:
    sealed = bytearray(seal(value, version))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    assert unseal(bytes(sealed)) is None


@given(value=st.binary(max_size=100), version=versions, data=st.data())
def test_a_cut_is_noticed(value: bytes, version: int, data: st.DataObject) -> None:
    sealed = seal(value, version)
    assert unseal(sealed[: data.draw(st.integers(0, len(sealed) - 1))]) is None


def test_only_what_is_ours_is_damaged() -> None:
    assert is_damaged(seal(b"value")[:-1])
    assert not is_damaged(b"value")
