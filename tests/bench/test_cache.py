from pathlib import Path

import pytest

from bench.cache import GIB, LeftOutError, require_disk, require_memory


def test_disk_that_is_there_is_no_reason(tmp_path: Path):
    require_disk(0, "nothing", tmp_path / "new")
    with pytest.raises(LeftOutError, match=r"the checkpoint x takes 1048576\.0 GiB of disk"):
        require_disk(2**20 * GIB, "the checkpoint x", tmp_path)


def test_memory_that_can_be_had_is_no_reason(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n")
    require_memory(4 * GIB, "x", meminfo)
    with pytest.raises(LeftOutError, match=r"x takes 5\.0 GiB of memory, and 4\.0 GiB are"):
        require_memory(5 * GIB, "x", meminfo)
