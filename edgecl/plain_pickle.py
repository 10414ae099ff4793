"""Pickles read opcode by opcode, on plain values only: nothing that is named in one is ever imported or called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

PLAIN = frozenset({
    "PROTO", "STOP", "MARK", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "NONE", "NEWTRUE", "NEWFALSE", "BININT",
    "BININT1", "BININT2", "BINUNICODE", "GLOBAL", "TUPLE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
    "APPENDS", "SETITEM", "SETITEMS", "REDUCE", "BUILD",
})  # fmt: skip


@dataclass
class Name:
    """A dotted name that the pickle refers to. Never resolved."""

    name: str


class _Mark:
    pass


class Stream(Protocol):
    """A binary file, as far as a pickle is read."""

    def read(self, n: int, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


class PlainPickle:
    """The stack machine of a pickle. A subclass says what names, calls and states mean, and refuses the rest.

    opcodes : those it may hold;  most : of them at most, or None
    `read` raises what `refused` gives, and IndexError, KeyError, AttributeError, TypeError or ValueError for a damaged
    structure.
    """

    opcodes: frozenset[str] = PLAIN
    most: int | None = None

    def refused(self, why: str) -> Exception:
        """The error for what the file may not hold."""
        return ValueError(why)

    def called(self, name: str, args: Any) -> Any:
        """What stands for a call that the pickle asks for."""
        raise self.refused(f"it would call '{name}'")

    def built(self, value: Any, state: Any) -> Any:
        """What stands for a value whose state the pickle sets."""
        return value

    def persistent(self, about: Any) -> Any:
        """What stands for an object that lies outside the pickle."""
        raise self.refused("it refers to something outside")

    def remembered(self, value: Any) -> Any:
        """What is kept of a value that may be referred to again."""
        return value

    def read(self, stream: Stream) -> Any:
        """The next pickle of the stream."""
        import pickletools  # here: only the child that reads such a file pays for it

        stack: list[Any] = []
        memo: dict[int, Any] = {}
        for step, (opcode, arg, position) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if self.most is not None and step > self.most:
                raise self.refused("it holds too many values")
            if opcode.name not in self.opcodes:
                raise self.refused(f"it holds {opcode.name} at byte {position}, which plain data does not")
            if opcode.name == "STOP":
                return stack.pop()
            self._do(opcode.name, arg, stack, memo)
        raise self.refused("it ends in the middle")

    def _do(self, name: str, arg: Any, stack: list[Any], memo: dict[int, Any]) -> None:
        """One opcode."""
        match name:
            case "MARK":
                stack.append(_Mark())
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "GLOBAL":
                stack.append(Name(str(arg)))
            case "TUPLE":
                stack.append(tuple(_to_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                n = int(name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            case "BINPUT" | "LONG_BINPUT":
                memo[int(arg or 0)] = self.remembered(stack[-1])
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[int(arg or 0)])
            case "APPEND":
                last = stack.pop()
                stack[-1].append(last)
            case "APPENDS":
                values = _to_mark(stack)
                stack[-1].extend(values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "SETITEMS":
                values = _to_mark(stack)
                stack[-1].update(zip(values[::2], values[1::2]))
            case "BINPERSID":
                stack.append(self.persistent(stack.pop()))
            case "REDUCE":
                args, function = stack.pop(), stack.pop()
                stack.append(self.called(function.name, args))
            case "BUILD":
                state = stack.pop()
                stack[-1] = self.built(stack[-1], state)
            case "PROTO" | "FRAME":
                pass
            case _:  # NONE, numbers and text
                stack.append(arg)


def _to_mark(stack: list[Any]) -> list[Any]:
    """The values above the last mark, which leaves with them."""
    place = max((i for i, v in enumerate(stack) if isinstance(v, _Mark)), default=-1)
    if place < 0:
        raise ValueError("a mark is missing")
    values = stack[place + 1 :]
    del stack[place:]
    return values
