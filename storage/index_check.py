"""Looks over an LMDB file before it is mapped: a wrong page number or length in it would kill the process.

Follows the layout of LMDB 0.9 (mdb.c): two meta pages, then a B+tree of pages each beginning with
{page number u64, pad u16, flags u16, lower u16, upper u16}. The tree of the newest meta page and the free
list are walked with every offset checked, and the order of the keys. A meta page has no checksum: one that names the
wrong transaction would bring an old state back, so every transaction writes its number into the tree (``STAMP``), and
both meta pages must agree with theirs. Other contents are not judged: values carry their own checksums.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

STAMP = b"t"  # key of the number of the transaction that wrote the tree (u64)
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
_BIG_DATA = 1
_INTEGER_KEY = 8  # of the free list
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
    txns = [m[3] for m in metas]
    if any(txns) and (abs(txns[0] - txns[1]) != 1 or txns[0] & 1 or not txns[1] & 1):  # they take turns
        raise _Unsound("transaction number")
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
        if flags != (_INTEGER_KEY, 0)[number]:
            raise _Unsound("database flags")
        if root == _NONE:
            continue
        if depth > 32:
            raise _Unsound("depth")
        tree = _Tree(data, page_size, last, used, free if number == 0 else None)
        tree.walk(root, depth)
        if len(tree.keys) != entries:
            raise _Unsound("number of entries")
        if number == 1 and tree.stamp not in (None, dbs[3]):
            raise _Unsound("transaction number")
    if used.intersection(free) or len(set(free)) != len(free) or any(not 1 < p <= last for p in free):
        raise _Unsound("free list")
    other = min(metas, key=lambda m: m[3])
    stamp = _stamp_of(data, page_size, other)
    if other[3] and stamp not in (None, other[3]):
        raise _Unsound("transaction number")


def _stamp_of(data: bytes, page_size: int, meta: tuple[tuple[int, ...], tuple[int, ...], int, int]) -> int | None:
    """Of the tree that the older meta page names; None when it cannot be walked, which harms nobody."""
    if meta[1][7] == _NONE or meta[1][2] > 32:
        return None
    tree = _Tree(data, page_size, meta[2], {0, 1}, None)
    try:
        tree.walk(meta[1][7], meta[1][2])
    except (_Unsound, struct.error, IndexError):
        return None
    return tree.stamp


def _meta(data: bytes, at: int) -> tuple[tuple[int, ...], tuple[int, ...], int, int]:
    flags = _PAGE.unpack_from(data, at)[2]
    magic, version, _, _ = struct.unpack_from("<IIQQ", data, at + 16)
    if magic != _MAGIC or version != _VERSION or not flags & _META:
        raise _Unsound("meta page")
    last, txn = struct.unpack_from("<QQ", data, at + 40 + 2 * _DB.size)
    return _DB.unpack_from(data, at + 40), _DB.unpack_from(data, at + 40 + _DB.size), last, txn


class _Tree:
    """One walk. free: where the page numbers of a free list go (its keys are numbers); None: ordinary keys."""

    def __init__(self, data: bytes, size: int, last: int, used: set[int], free: list[int] | None) -> None:
        self.data, self.size, self.last, self.used, self.free = data, size, last, used, free
        self.keys: list[bytes] = []  # of the leaves, in order
        self.stamp: int | None = None

    def _claim(self, number: int, n: int = 1) -> None:
        for p in range(number, number + n):
            if not 1 < p <= self.last or p in self.used:
                raise _Unsound(f"page {p}")
            self.used.add(p)

    def _order(self, key: bytes) -> bytes:
        return key if self.free is None else key[::-1]

    def walk(self, number: int, depth: int, low: bytes | None = None, high: bytes | None = None) -> None:
        """One page and all below it, whose keys lie in [low, high)."""
        data, size = self.data, self.size
        self._claim(number)
        at = number * size
        own, _, flags, lower, upper = _PAGE.unpack_from(data, at)
        leaf = depth == 1
        if own != number or flags != (_LEAF if leaf else _BRANCH) or not 16 <= lower <= upper <= size or lower & 1:
            raise _Unsound(f"page {number}")
        n = (lower - 16) // 2
        if n < 1 or (not leaf and n < 2):
            raise _Unsound(f"page {number}")
        nodes = []
        for i in range(n):
            offset = struct.unpack_from("<H", data, at + 16 + 2 * i)[0]
            if offset < upper or offset + 8 > size:
                raise _Unsound(f"page {number}")
            lo, hi, node_flags, key_size = _NODE.unpack_from(data, at + offset)
            value = at + offset + 8 + key_size
            if value > at + size:
                raise _Unsound(f"page {number}")
            key = self._order(data[value - key_size : value])
            nodes.append((key, lo | hi << 16, node_flags, value))
        keys = [low if i == 0 and not leaf else k[0] for i, k in enumerate(nodes)]  # a branch's first key means nothing
        bounds = [*keys, high]
        if any(a is not None and b is not None and a >= b for a, b in pairwise(bounds)):
            raise _Unsound(f"page {number}")
        if leaf and low is not None and nodes[0][0] < low:
            raise _Unsound(f"page {number}")
        for i, (key, length, node_flags, value) in enumerate(nodes):
            if leaf:
                self._leaf(number, key, length, node_flags, value)
            else:
                self.walk(length | node_flags << 32, depth - 1, keys[i], bounds[i + 1])

    def _leaf(self, number: int, key: bytes, length: int, node_flags: int, value: int) -> None:
        data, size = self.data, self.size
        if node_flags not in (0, _BIG_DATA):
            raise _Unsound(f"page {number}")
        if node_flags == _BIG_DATA:
            if value + 8 > (number + 1) * size:
                raise _Unsound(f"page {number}")
            first = struct.unpack_from("<Q", data, value)[0]
            pages = (16 + length + size - 1) // size
            self._claim(first, pages)
            big, _, big_flags, held = struct.unpack_from("<QHHI", data, first * size)
            if big != first or big_flags != _OVERFLOW or held != pages:
                raise _Unsound(f"page {first}")
            value = first * size + 16
        elif value + length > (number + 1) * size:
            raise _Unsound(f"page {number}")
        self.keys.append(key)
        if self.free is not None:
            if len(key) != 8 or length < 8 or length % 8:
                raise _Unsound("free list")
            n_free = struct.unpack_from("<Q", data, value)[0]
            if 8 * (n_free + 1) > length:
                raise _Unsound("free list")
            self.free += struct.unpack_from(f"<{n_free}Q", data, value + 8)
        elif key == STAMP and length >= 8:
            self.stamp = struct.unpack_from("<Q", data, value)[0]
