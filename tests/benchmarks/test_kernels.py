"""The kernels of a compiled program, from its text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parents[2] / "benchmarks" / "speed"
TEXT = """\
%fused_computation.1 (p.0: f32[8,4]) -> f32[8,4] {
  %p.0 = f32[8,4]{1,0} parameter(0)
  ROOT %t.0 = f32[8,4]{1,0} tanh(%p.0), metadata={op_name="jit(f)/Net/tanh"}
}

ENTRY %main.1 (x: f32[8,4], w: f32[4,4]) -> f32[8,4] {
  %x = f32[8,4]{1,0} parameter(0)
  %w = f32[4,4]{1,0} parameter(1)
  %dot.2 = f32[8,4]{1,0} dot(%x, %w), lhs_contracting_dims={1}, metadata={op_name="jit(f)/dot"}
  ROOT %add_tanh_fusion = f32[8,4]{1,0} fusion(%dot.2), kind=kLoop, calls=%fused_computation.1
}
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SPEED))
    import kernels

    yield kernels
    sys.modules.pop("kernels", None)


def test_kernels_have_the_bytes_of_operands_and_results(script):
    found = script.kernels(TEXT)
    assert found["dot.2"] == ("dot", 128 + 128 + 64, "jit(f)/dot")
    assert found["add_tanh_fusion"] == ("fusion", 128 + 128, "jit(f)/Net/tanh")
    assert script.size_of("(pred[3], s16[2,2], f64[])") == 3 + 8 + 8


def test_parts_are_by_the_operations_that_names_tell(script):
    names = {
        "ynn_fusion.3": "products",
        "bitcast_dynamic-update-slice_fusion": "writes into arrays",
        "copy_bitcast_fusion": "copies",
        "add_tanh_fusion": "element-wise",
    }
    for name, part in names.items():
        assert script.part_of(name, script.Kernel("fusion", 8, "jit(f)/tanh")) == part
    assert script.part_of("sort.1", script.Kernel("gather", 8, "")) == "reads by index"
    split = script.Kernel("fusion", 8, "jit(run)/jit(_threefry_split)/add")
    assert script.part_of("add_fusion", split) == "splitting keys"


def test_time_with_kernels_counts_overlaps_once(script):
    runs = [script.Ran("a", 0.0, 4e9), script.Ran("b", 1e9, 2e9), script.Ran("c", 6e9, 1e9)]
    assert script.covered(runs) == 5.0
