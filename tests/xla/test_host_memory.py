"""Memory of a machine and of control groups, from the kernel's files."""

import pytest

from marlx.xla import host_memory, memory
from marlx.xla.host_memory import free_memory, total_memory

MEMINFO = "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  400 kB\nHugePages_Total:  0\n"


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Writes the kernel's files, whose paths and texts it gets."""

    def write(**files):
        for path, text in {"proc/meminfo": MEMINFO, **files}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)

    monkeypatch.setattr(host_memory, "ROOT", tmp_path)
    return write


def test_without_groups_it_is_what_the_machine_has_available(kernel):
    kernel()
    assert free_memory() == 400 * 1024
    assert total_memory() > 1_000_000  # of this machine
    assert memory.device_memory(free=True) == 400 * 1024


def test_the_smallest_of_a_group_and_those_above_it_counts(kernel):
    group = "sys/fs/cgroup/pod/box"
    kernel(**{
        "proc/self/cgroup": "0::/pod/box\n",
        f"{group}/memory.max": "max\n",
        f"{group}/memory.current": "250000\n",
        "sys/fs/cgroup/pod/memory.max": "300000\n",
        "sys/fs/cgroup/pod/memory.current": "290000\n",
        "sys/fs/cgroup/pod/memory.stat": "anon 200000\ninactive_file 90000\n",
    })  # fmt: skip
    assert (total_memory(), free_memory()) == (300_000, 300_000 - (290_000 - 90_000))


def test_groups_of_the_first_version(kernel):
    folder = "sys/fs/cgroup/memory/box"
    kernel(**{
        "proc/self/cgroup": "5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n",
        f"{folder}/memory.limit_in_bytes": "200000\n",
        f"{folder}/memory.usage_in_bytes": "500000\n",
        f"{folder}/memory.stat": "cache 1\ntotal_inactive_file 1000\n",
    })  # fmt: skip
    assert (total_memory(), free_memory()) == (200_000, 0)


def test_a_platform_that_does_not_say(kernel, tmp_path):
    assert free_memory() is None
    kernel(**{"proc/meminfo": "odd\n"})
    assert free_memory() is None
    assert memory.device_memory(free=True) == total_memory()
