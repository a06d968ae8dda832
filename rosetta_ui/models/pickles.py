"""Pickles read as data: a machine over their opcodes that imports, calls and compiles nothing.

The standard unpickler resolves names and calls what they name; whoever writes the file then runs
code here. This machine keeps every name as text. What a name means is decided by a `Vocabulary` of
our own functions that build plain values; a name that is not in it ends the reading. Opcodes are
cut by `pickletools.genops`, which parses and never executes.

Time and memory are bounded: by the number of opcodes, and by a `Budget` of bytes that values built
from names may take, in proportion to the file's size.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NoReturn

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError

MOST_OPCODES = 2_000_000
"""The largest published file has some hundred thousand; an opcode can cost 200 bytes of memory."""

MOST_DEPTH = 64

_ADVICE = "Nothing in it was run. Get the file from its publisher, or convert it to safetensors."


@dataclass(frozen=True)
class Name:
    """A global that a file mentions, as text."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Inert:
    """An object of a class known by name only: its parts are kept, nothing is made of them."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None


class Budget:
    """Bytes that one file may still ask for; shared by the pickles nested in it.

    Args:
        file_size: bytes of the file; four times that plus 64 MiB may be built from it.
    """

    def __init__(self, file_size: int) -> None:
        self._left = 4 * file_size + (64 << 20)
        self._opcodes = MOST_OPCODES

    def spend(self, n_bytes: int) -> None:
        """Count bytes before they are allocated.

        Raises:
            UnsafeFileError: the file asks for more than its size explains.
        """
        if n_bytes < 0 or n_bytes > self._left:
            raise UnsafeFileError(
                f"The file asks for {n_bytes:,} bytes more than its size explains.", _ADVICE
            )
        self._left -= n_bytes

    def count_opcode(self) -> None:
        """Count one opcode.

        Raises:
            UnsafeFileError: there are too many.
        """
        self._opcodes -= 1
        if self._opcodes < 0:
            raise UnsafeFileError(f"The file has more than {MOST_OPCODES:,} steps.", _ADVICE)


Build = Callable[[tuple[Any, ...]], Any]


@dataclass(frozen=True)
class Vocabulary:
    """What the names of a kind of file mean.

    Attributes:
        calls: name → function from the arguments to a plain value.
        inert: names of classes whose objects are kept as `Inert`.
        marks: names that may stand as a value (a storage type, a dtype) but not be called.
        set_state: how the state of a value that `calls` made is set; returns the value.
        persistent: how an outside reference (of a torch file) is resolved; None refuses them.
    """

    calls: Mapping[str, Build]
    inert: Callable[[str], bool] = lambda _name: False
    marks: Callable[[str], bool] = lambda _name: False
    set_state: Callable[[Any, Any], Any] = lambda value, _state: value
    persistent: Callable[[Any], Any] | None = None

    def look_up(self, module: str, name: str) -> Any:
        """A name as a value.

        Raises:
            UnsafeFileError: it is not in the vocabulary, or it is dotted.
        """
        full = f"{module}.{name}"
        known = full in self.calls or self.inert(full) or self.marks(full)
        if "." in name or not known:
            refuse_name(full)
        return Name(module, name)

    def call(self, function: Any, arguments: Any) -> Any:
        """Build the value that a call would give.

        Raises:
            UnsafeFileError: the function is none of ours.
        """
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            what = function.name if isinstance(function, Inert) else type(function).__name__
            raise UnsafeFileError(f"The file calls something that is no name ({what}).", _ADVICE)
        full = str(function)
        if full in self.calls:
            return self.calls[full](arguments)
        if not self.inert(full):
            refuse_name(full)
        return Inert(full, arguments)


def shown(value: Any) -> str:
    """A value of a file as a few characters of a sentence.

    Never the text of a nested value: a few shared lists can spell out to any length.
    """
    if isinstance(value, (str, Name)):
        return str(value)[:60]
    return type(value).__name__


def refuse_name(full: str) -> NoReturn:
    """End the reading at a name that is not in the vocabulary."""
    short = full if len(full) <= 80 else full[:77] + "..."
    raise UnsafeFileError(f"The file asks for '{short}', which is more than numbers.", _ADVICE)


def damaged(why: str) -> NoReturn:
    """End the reading of a file that breaks the format."""
    raise WeightsCorruptError(f"The file is damaged: {why}.", "Download it again.")


def read_pickle(
    data: bytes | memoryview, vocabulary: Vocabulary, budget: Budget, start: int = 0
) -> tuple[Any, int]:
    """Read one pickle.

    Args:
        data: the file, or a part of it.
        vocabulary: what its names mean.
        budget: of the whole file.
        start: where in `data` the pickle begins.

    Returns:
        Its value (None, bool, int, float, str, bytes, list, tuple, dict, set, `Name`, `Inert`, or
        what the vocabulary builds) and the position after it.

    Raises:
        UnsafeFileError: it asks for code, or for more than its size explains.
        WeightsCorruptError: it is truncated or not a pickle.
    """
    stream = BytesIO(data)
    stream.seek(start)
    machine = _Machine(vocabulary, budget)
    for code, argument in _opcodes(stream):
        budget.count_opcode()
        if code == "STOP":
            return machine.pop(), stream.tell()
        machine.step(code, argument)
    damaged("it ends in the middle")


def _opcodes(stream: BytesIO) -> Iterator[tuple[str, Any]]:
    try:
        for code, argument, _ in pickletools.genops(stream):
            yield code.name, argument
    except (ValueError, OverflowError, EOFError) as error:
        raise WeightsCorruptError(
            f"The file is damaged: {str(error)[:80]}.", "Download it again."
        ) from error


_MARK = object()

_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_LITERALS = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    ]
)
_IGNORED = frozenset(("PROTO", "FRAME"))
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, vocabulary: Vocabulary, budget: Budget) -> None:
        self._words = vocabulary
        self._budget = budget
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            damaged("its stack runs empty")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            damaged(f"there is no {kind.__name__} where one is filled")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        for at in range(len(self._stack) - 1, -1, -1):
            if self._stack[at] is _MARK:
                items = self._stack[at + 1 :]
                del self._stack[at:]
                return items
        damaged("a mark is missing")

    def step(self, code: str, argument: Any) -> None:
        """Carry out one opcode."""
        push = self._stack.append
        if code in _IGNORED:
            return
        if code in _LITERALS:
            push(argument)
        elif code in _CONSTANTS:
            push(_CONSTANTS[code])
        elif code in _EMPTY:
            push(_EMPTY[code]())
        elif code in _TUPLES:
            push(tuple(reversed([self.pop() for _ in range(_TUPLES[code])])))
        elif code == "MARK":
            push(_MARK)
        elif handler := _HANDLERS.get(code):
            handler(self, argument)
        else:
            raise UnsafeFileError(
                f"The file uses the step {code}, which numbers need not.", _ADVICE
            )

    # Memo

    def put(self, argument: Any) -> None:
        value = self.pop()
        self._stack.append(value)
        self._memo[len(self._memo) if argument is None else argument] = value

    def get(self, argument: Any) -> None:
        if argument not in self._memo:
            damaged(f"it refers to a value {argument} that it never made")
        self._stack.append(self._memo[argument])

    # Stack and containers

    def drop(self, _argument: Any) -> None:
        self.pop()

    def drop_to_mark(self, _argument: Any) -> None:
        self._since_mark()

    def double(self, _argument: Any) -> None:
        value = self.pop()
        self._stack += [value, value]

    def tuple_(self, _argument: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def list_(self, _argument: Any) -> None:
        self._stack.append(self._since_mark())

    def dict_(self, _argument: Any) -> None:
        items = self._since_mark()
        target: dict[Any, Any] = {}
        self._fill(target, items)
        self._stack.append(target)

    def append(self, _argument: Any) -> None:
        value = self.pop()
        self._top(list).append(value)

    def extend(self, _argument: Any) -> None:
        items = self._since_mark()
        self._top(list).extend(items)

    def set_item(self, _argument: Any) -> None:
        value, key = self.pop(), self.pop()
        self._fill(self._top(dict), [key, value])

    def set_items(self, _argument: Any) -> None:
        items = self._since_mark()
        self._fill(self._top(dict), items)

    def _fill(self, target: dict[Any, Any], items: list[Any]) -> None:
        if len(items) % 2:
            damaged("a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[hashable(key)] = value

    def add_items(self, _argument: Any) -> None:
        items = self._since_mark()
        self._top(set).update(hashable(item) for item in items)

    def frozen_set(self, _argument: Any) -> None:
        self._stack.append(frozenset(hashable(item) for item in self._since_mark()))

    # Names

    def global_(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self._stack.append(self._words.look_up(module, name))

    def stack_global(self, _argument: Any) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            damaged("a name is not text")
        self._stack.append(self._words.look_up(module, name))

    def reduce(self, _argument: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self._stack.append(self._words.call(function, arguments))

    def new_object(self, _argument: Any) -> None:
        arguments, kind = self.pop(), self.pop()
        self._stack.append(self._words.call(kind, arguments))

    def new_object_ex(self, _argument: Any) -> None:
        keywords, arguments, kind = self.pop(), self.pop(), self.pop()
        if keywords:
            damaged("an object is made with keywords")
        self._stack.append(self._words.call(kind, arguments))

    def build(self, _argument: Any) -> None:
        state = self.pop()
        value = self.pop()
        if isinstance(value, Inert):
            value.state = state
        else:
            value = self._words.set_state(value, state)
        self._stack.append(value)

    def outside(self, _argument: Any) -> None:
        reference = self.pop()
        if self._words.persistent is None:
            raise UnsafeFileError("The file refers to something outside itself.", _ADVICE)
        self._stack.append(self._words.persistent(reference))


def hashable(key: Any) -> Any:
    """A key that a mapping or set may have.

    Raises:
        WeightsCorruptError: it is of another type.
    """
    # Text, small numbers and names only: a file could otherwise choose keys that all collide and
    # make one look-up take as long as the file has entries.
    if isinstance(key, (str, bytes, bool, Name)) or key is None:
        return key
    if isinstance(key, int) and abs(key) < 1 << 53:
        return key
    damaged(f"a key is of type {type(key).__name__}")


_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, _argument: machine.put(None),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.double,
    "TUPLE": _Machine.tuple_,
    "LIST": _Machine.list_,
    "DICT": _Machine.dict_,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "ADDITEMS": _Machine.add_items,
    "FROZENSET": _Machine.frozen_set,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_ex,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.outside,
}
