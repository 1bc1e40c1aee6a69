"""Kernels that LLVM compiles: sums of a part of a patch, and labels of sums, in one pass over rows that are cached.

Each value is rounded where NumPy rounds it, nothing is contracted or reordered: the bytes are the same. They are built
for vectors of `WIDTH` values, and for single ones at the end of a row, which takes .1 s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_int64, c_void_p
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numpy.typing import NDArray

Kernel = Callable[..., None]
Value = Any
"""A value of LLVM."""

WIDTH = 32
"""Values that are computed together: two lines of the processor's cache."""

_FLOAT, _BYTE, _LABEL, _COUNT = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)


class _Planes(NamedTuple):
    """An array `(planes, rows, columns)` whose rows have no gaps."""

    start: Value
    plane: Value
    """Values from one plane to the next."""
    row: Value
    """Values from one row to the next."""


class _Cells(NamedTuple):
    """`width` cells of a row that are computed together."""

    builder: ir.IRBuilder
    row: Value
    column: Value
    width: int

    def place(self, of: _Planes, plane: Value, kind: ir.Type = _FLOAT) -> Value:
        """Return where they are in a plane of an array."""
        b = self.builder
        at = b.add(b.add(b.mul(plane, of.plane), b.mul(self.row, of.row)), self.column)
        return b.gep(of.start, [at], source_etype=kind)

    def load(self, of: _Planes, plane: Value) -> Value:
        """Return their values in a plane."""
        return self.builder.load(self.place(of, plane), align=4, typ=ir.VectorType(_FLOAT, self.width))

    def store(self, of: _Planes, plane: Value, values: Value) -> None:
        """Write their values to a plane."""
        kind = values.type.element
        self.builder.store(values, self.place(of, plane, kind), align=kind.width // 8 if kind == _BYTE else 4)

    def sums(self, scores: _Planes, weights: _Planes | None, carried: _Planes | None, plane: Value) -> Value:
        """Return scores of a plane, times weights, plus what was carried over, where there are any."""
        values = self.load(scores, plane)
        if weights is not None:
            values = self.builder.fmul(values, self.load(weights, _COUNT(0)))
        return values if carried is None else self.builder.fadd(values, self.load(carried, plane))


@contextmanager
def _loop(b: ir.IRBuilder, start: Value, stop: Value, step: int, kept: list[Value] | None = None) -> Iterator[Value]:
    """Repeat what is built inside for each number from `start` to before `stop`; it may replace what is `kept`."""
    before, head, body, end = b.block, *(b.append_basic_block(name) for name in ("head", "body", "end"))
    values = [start, *(kept or ())]
    b.branch(head)
    b.position_at_end(head)
    phis = [b.phi(value.type) for value in values]
    b.cbranch(b.icmp_signed("<", phis[0], stop), body, end)
    b.position_at_end(body)
    changing = [] if kept is None else kept
    changing[:] = phis[1:]
    yield phis[0]
    following = [b.add(phis[0], _COUNT(step)), *changing]
    for phi, first, then in zip(phis, values, following, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, b.block)
    b.branch(head)
    b.position_at_end(end)
    changing[:] = phis[1:]


def _cells(b: ir.IRBuilder, rows: Value, columns: Value) -> Iterator[_Cells]:
    """Build what is done with each cell: for `WIDTH` at a time, and for those of a row that are left."""
    wide = b.sub(columns, b.urem(columns, _COUNT(WIDTH)))
    with _loop(b, _COUNT(0), rows, 1) as row:
        for start, stop, width in ((_COUNT(0), wide, WIDTH), (wide, columns, 1)):
            with _loop(b, start, stop, width) as column:
                yield _Cells(b, row, column, width)


def _splat(b: ir.IRBuilder, value: Value, width: int) -> Value:
    """Return a vector of equal values."""
    kind = ir.VectorType(value.type, width)
    first = b.insert_element(ir.Constant(kind, ir.Undefined), value, _LABEL(0))
    return b.shuffle_vector(first, first, ir.Constant(ir.VectorType(_LABEL, width), [0] * width))


def _build_store(
    b: ir.IRBuilder, shape: tuple[Value, ...], scores: _Planes, weights: _Planes, carried: _Planes | None, out: _Planes
) -> None:
    planes, rows, columns = shape
    for cells in _cells(b, rows, columns):
        with _loop(b, _COUNT(0), planes, 1) as plane:
            cells.store(out, plane, cells.sums(scores, weights, carried, plane))


def _build_label(
    b: ir.IRBuilder,
    shape: tuple[Value, ...],
    scores: _Planes,
    weights: _Planes | None,
    carried: _Planes | None,
    out: _Planes,
) -> None:
    """Compare as NumPy does: the lowest of equal ones wins, and nothing is above a sum that is no number."""
    planes, rows, columns = shape
    for cells in _cells(b, rows, columns):
        first = cells.sums(scores, weights, carried, _COUNT(0))
        kept = [first, ir.Constant(ir.VectorType(_LABEL, cells.width), [0] * cells.width)]
        with _loop(b, _COUNT(1), planes, 1, kept) as plane:
            best, label = kept
            values = cells.sums(scores, weights, carried, plane)
            above = b.fcmp_ordered(">", values, best)
            number = _splat(b, b.trunc(plane, _LABEL), cells.width)
            taken = b.or_(above, b.fcmp_unordered("uno", values, values))
            kept[:] = b.select(taken, values, best), b.select(above, number, label)
        cells.store(out, _COUNT(0), b.trunc(kept[1], ir.VectorType(_BYTE, cells.width)))


_ARRAYS = {"store_products": 3, "store_sums": 4, "label_scores": 2, "label_sums": 4}
"""Names of kernels, and the arrays that each is given, of which the last is written."""


def _module() -> ir.Module:
    """Build functions of arrays, each with the values from one plane and row to the next, and of the first's shape."""
    module = ir.Module("kernels")
    for name, count in _ARRAYS.items():
        kinds = [ir.PointerType(), _COUNT, _COUNT] * count + [_COUNT] * 3
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        given, shape = function.args[:-3], function.args[-3:]
        scores, *others, out = [_Planes(*given[at : at + 3]) for at in range(0, 3 * count, 3)]
        weights, carried, *_ = *others, None, None
        b = ir.IRBuilder(function.append_basic_block())
        build = _build_store if name.startswith("store") else _build_label
        build(b, shape, scores, weights, carried, out)
        b.ret_void()
    return module


def _compiled() -> Any:  # noqa: ANN401  (an engine of LLVM, which holds the code)
    """Compile for this processor, without LLVM's passes: they take .3 s, and gain nothing where vectors are written."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    here = {"cpu": llvm.get_host_cpu_name(), "features": llvm.get_host_cpu_features().flatten()}
    machine = llvm.Target.from_default_triple().create_target_machine(opt=3, jit=True, **here)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(_module())), machine)
    engine.finalize_object()
    return engine


_ENGINE = _compiled()


def _kernel(name: str) -> Kernel:
    words = [c_void_p, c_int64, c_int64] * _ARRAYS[name] + [c_int64] * 3
    function = CFUNCTYPE(None, *words)(_ENGINE.get_function_address(name))

    def call(*arrays: NDArray[Any]) -> None:
        """Call it with arrays `(planes, rows, columns)` or `(rows, columns)`, whose rows have no gaps."""
        function(*(word for array in arrays for word in _words(array)), *arrays[0].shape)

    return call


def _words(array: NDArray[Any]) -> tuple[int, int, int]:
    """Return where an array begins, and the values from one plane and row to the next."""
    plane, row = array.strides[0], array.strides[-2]
    return array.__array_interface__["data"][0], plane // array.itemsize, row // array.itemsize


multiply = _kernel("store_products")
"""Write the products of scores `(classes, rows, columns)` and weights `(rows, columns)`."""
multiply_add = _kernel("store_sums")
"""Write these products plus what was carried over, `(classes, rows, columns)`, which may lie behind `out`."""
label = _kernel("label_scores")
"""Write the index of the highest score; the lowest one wins a tie."""
label_sums = _kernel("label_sums")
"""Write the index of the highest sum of a product and what was carried over; the lowest one wins a tie."""
