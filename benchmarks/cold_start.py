"""One process's start, from nothing: `cold_start.py import` or `cold_start.py answer`; prints seconds.

`import` is the time of `import omegamesh`; `answer` is the time after it until the first answer of an
embedded mesh that has to be made first.
"""

import sys
import time

began = time.perf_counter()
import omegamesh as om  # noqa: E402

if sys.argv[1] == "answer":
    began = time.perf_counter()
    om.datasets.list()
taken = time.perf_counter() - began
print(f"seconds {taken}")
