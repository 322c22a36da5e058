"""`./run lint` finds a member that is read without the mutex that guards it.

.clang-tidy turns on clang's -Wthread-safety. Were it dropped there, lint would pass without a word.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

COUNTER = """
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

class Counter {
 public:
  int value() const {
    %s
    return value_;
  }

 private:
  mutable absl::Mutex mutex_;
  int value_ ABSL_GUARDED_BY(mutex_) = 0;
};
"""


def tidy(source: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("clang-tidy")
    config = f"--config-file={ROOT / '.clang-tidy'}"
    command = [str(program), "--quiet", config, str(source), "--", "-std=c++20"]
    return subprocess.run(command, capture_output=True, text=True)


def test_lint_finds_a_guarded_member_that_is_read_without_its_mutex(tmp_path: Path) -> None:
    locked = tmp_path / "locked.cc"
    locked.write_text(COUNTER % "absl::MutexLock lock(&mutex_);")
    unlocked = tmp_path / "unlocked.cc"
    unlocked.write_text(COUNTER % "")
    assert tidy(locked).returncode == 0
    found = tidy(unlocked)
    assert found.returncode != 0
    assert "reading variable 'value_' requires holding mutex 'mutex_'" in found.stdout
