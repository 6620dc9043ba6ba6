"""Prints the sources of the Abseil parts that are built, relative to the directory given."""
import glob
import os
import re
import sys

PARTS = ["base", "container", "crc", "debugging", "functional", "hash", "log", "numeric", "profiling", "status", "strings",
         "synchronization", "time", "types"]
SKIP = re.compile(r"_test\.cc$|_benchmark\.cc$|test_|_testing|benchmark|_mock_|mock_|/print_hash_of\.cc$|/scoped_mock_log\.cc$"
                  r"|gentables|/test/|/testing|/log/flags\.cc$|/crc32c_benchmark|failure_signal_handler|hash_generator"
                  r"|spinlock_test_common|exception_safety|thread_pool|cordrep_test_util|unordered_.*test|allocator_testing")
os.chdir(sys.argv[1])
for part in PARTS:
    for path in sorted(glob.glob(f"absl/{part}/**/*.cc", recursive=True)):
        if not SKIP.search(path):
            print(path)
