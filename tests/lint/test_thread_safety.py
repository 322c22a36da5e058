"""`./run lint` finds wrong uses of mutexes: .clang-tidy turns on clang's -Wthread-safety.

Were it dropped there, lint would pass without a word.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

COUNTER = """
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

class Counter {
 public:
  int value() {
    %s
    return value_;
  }

 private:
  absl::Mutex first_;
  absl::Mutex second_ ABSL_ACQUIRED_AFTER(first_);
  int value_ ABSL_GUARDED_BY(second_) = 0;
};
"""


def tidy(source: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("clang-tidy")
    config = f"--config-file={ROOT / '.clang-tidy'}"
    command = [str(program), "--quiet", config, str(source), "--", "-std=c++20"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("locks", "finding"),
    [
        ("first second", ""),
        ("second", ""),
        ("", "reading variable 'value_' requires holding mutex 'second_'"),
        ("first", "reading variable 'value_' requires holding mutex 'second_'"),
        ("second first", "mutex 'first_' must be acquired before 'second_'"),
        ("second second", "acquiring mutex 'second_' that is already held"),
    ],
)
def test_lint_finds_wrong_locking(tmp_path: Path, locks: str, finding: str) -> None:
    source = tmp_path / "counter.cc"
    taken = [f"absl::MutexLock lock{i}(&{name}_);" for i, name in enumerate(locks.split())]
    source.write_text(COUNTER % "\n    ".join(taken))
    found = tidy(source)
    assert (found.returncode == 0) == (finding == "")
    assert finding in found.stdout
