"""The child's side of a probe: read one question a line, answer each with one line of JSON. Standard library only.

A probe is a process that measures from inside its own environment (see processes.Probe). It stays up
between rounds, so that the systems can take turns.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any


def answer_questions(verbs: Mapping[str, Callable[..., Any]]) -> None:
    """Serve until standard input ends; what a verb or its libraries print goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        answer = verbs[question["verb"]](**question["arguments"])
        print(json.dumps(answer), file=answers, flush=True)
