"""Render a chat template within bounded memory: a program that `misfired.scoring.template` runs.

Arguments: `sys.path` as JSON, bytes of memory. Standard input: `source`, `date` and `variables` as JSON.
Exit code 4 means that the memory did not suffice. A template that fails otherwise ends with 0: rendering
it in earnest says why.
"""

import datetime
import json
import sys


def main(n_bytes: int) -> int:
    """Limit the memory, then render; return the exit code."""
    try:
        import resource  # noqa: PLC0415  not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    except ImportError:
        pass
    from misfired.scoring.template import environment  # noqa: PLC0415  found by argument 1

    request = json.load(sys.stdin)
    date = datetime.date.fromisoformat(request["date"])
    try:
        template = environment(date).from_string(request["source"])
        for _ in template.generate(request["variables"]):
            pass
    except MemoryError:
        return 4
    except Exception:
        return 0
    return 0


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    sys.exit(main(int(sys.argv[2])))
