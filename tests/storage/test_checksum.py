from edgecl.storage import _storage
from hypothesis import given, settings
from hypothesis import strategies as st


def test_crc32c_has_the_standard_check_value():
    assert _storage.crc32c(b"123456789") == 0xE3069283
    assert _storage.crc32c_table(b"123456789") == 0xE3069283


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=4000), st.integers(0, 2**32 - 1))
def test_the_fast_checksum_equals_the_table_one(data, seed):
    assert _storage.crc32c(data, seed) == _storage.crc32c_table(data, seed)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_a_checksum_can_be_continued(data, cut):
    assert _storage.crc32c(data[cut:], _storage.crc32c(data[:cut])) == _storage.crc32c(data)
