"""Looks over an LMDB file before it is mapped: a wrong page number or length in it would kill the process.

Follows the layout of LMDB 0.9 (mdb.c): two meta pages, then a B+tree of pages each beginning with
{page number u64, pad u16, flags u16, lower u16, upper u16}. The tree of the newest meta page and the free
list are walked with every offset checked. Contents are not judged: values carry their own checksums.
"""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
_BIG_DATA = 1
_NONE = 0xFFFFFFFFFFFFFFFF
_PAGE = struct.Struct("<QHHHH")
_DB = struct.Struct("<IHHQQQQQ")
_NODE = struct.Struct("<HHHH")


class _Unsound(Exception):
    pass


def unsound(path: Path) -> str | None:
    """Why the file cannot be used; None when it can, or does not exist, or is empty (LMDB makes it)."""
    if not path.exists():
        return None
    data = path.read_bytes()
    if not data:
        return None
    try:
        _walk(data)
    except (_Unsound, struct.error, IndexError) as error:
        return str(error) or "it is cut off"
    return None


def _walk(data: bytes) -> None:
    page_size = _meta(data, 0)[0][0]
    if page_size < 512 or page_size & (page_size - 1) or page_size > 65536:
        raise _Unsound("page size")
    metas = [_meta(data, 0), _meta(data, page_size)]
    if metas[1][0][0] != page_size:
        raise _Unsound("page size")
    dbs = max(metas, key=lambda m: m[3])
    if len(data) % page_size:
        raise _Unsound("it is cut off")
    last = dbs[2]
    if last < 1 or (last + 1) * page_size > len(data):
        raise _Unsound("it is cut off")
    used: set[int] = {0, 1}
    free: list[int] = []
    for number in (0, 1):
        _, flags, depth, _, _, _, entries, root = dbs[number]  # type: ignore[misc]
        if number == 1 and flags:
            raise _Unsound("database flags")
        if root == _NONE:
            continue
        if depth > 32:
            raise _Unsound("depth")
        count = _tree(data, page_size, last, root, depth, used, free if number == 0 else None)
        if count != entries:
            raise _Unsound("number of entries")
    if used.intersection(free) or len(set(free)) != len(free) or any(not 1 < p <= last for p in free):
        raise _Unsound("free list")


def _meta(data: bytes, at: int) -> tuple[tuple[int, ...], tuple[int, ...], int, int]:
    flags = _PAGE.unpack_from(data, at)[2]
    magic, version, _, _ = struct.unpack_from("<IIQQ", data, at + 16)
    if magic != _MAGIC or version != _VERSION or not flags & _META:
        raise _Unsound("meta page")
    last, txn = struct.unpack_from("<QQ", data, at + 40 + 2 * _DB.size)
    return _DB.unpack_from(data, at + 40), _DB.unpack_from(data, at + 40 + _DB.size), last, txn


def _claim(number: int, n: int, last: int, used: set[int]) -> None:
    for p in range(number, number + n):
        if not 1 < p <= last or p in used:
            raise _Unsound(f"page {p}")
        used.add(p)


def _tree(data: bytes, size: int, last: int, number: int, depth: int, used: set[int], free: list[int] | None) -> int:
    """Walks one page and all below it; the number of entries."""
    _claim(number, 1, last, used)
    at = number * size
    own, _, flags, lower, upper = _PAGE.unpack_from(data, at)
    leaf = depth == 1
    if own != number or flags & 15 != (_LEAF if leaf else _BRANCH) or not 16 <= lower <= upper <= size or lower & 1:
        raise _Unsound(f"page {number}")
    n = (lower - 16) // 2
    if n < 1 or (not leaf and n < 2):
        raise _Unsound(f"page {number}")
    count = n if leaf else 0
    for i in range(n):
        offset = struct.unpack_from("<H", data, at + 16 + 2 * i)[0]
        if offset < upper or offset + 8 > size:
            raise _Unsound(f"page {number}")
        lo, hi, node_flags, key_size = _NODE.unpack_from(data, at + offset)
        value = at + offset + 8 + key_size
        if not leaf:
            if value > at + size:
                raise _Unsound(f"page {number}")
            child = lo | hi << 16 | node_flags << 32
            count += _tree(data, size, last, child, depth - 1, used, free)
            continue
        length = lo | hi << 16
        if node_flags not in (0, _BIG_DATA):
            raise _Unsound(f"page {number}")
        if node_flags == _BIG_DATA:
            if value + 8 > at + size:
                raise _Unsound(f"page {number}")
            first = struct.unpack_from("<Q", data, value)[0]
            pages = (16 + length + size - 1) // size
            _claim(first, pages, last, used)
            big, _, big_flags, held = struct.unpack_from("<QHHI", data, first * size)
            if big != first or not big_flags & _OVERFLOW or held != pages:
                raise _Unsound(f"page {first}")
            value = first * size + 16
        elif value + length > at + size:
            raise _Unsound(f"page {number}")
        if free is not None:
            if length < 8 or length % 8:
                raise _Unsound("free list")
            n_free = struct.unpack_from("<Q", data, value)[0]
            if 8 * (n_free + 1) > length:
                raise _Unsound("free list")
            free += struct.unpack_from(f"<{n_free}Q", data, value + 8)
    return count
