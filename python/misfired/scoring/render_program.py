"""Renders chat templates within bounds: a program that `misfired.scoring.renderer` talks to.

Arguments: `sys.path` as JSON, bytes of memory, characters of a prompt. Each line of standard input is a
request of `sandbox.render_each` as JSON, with `seconds` of processor time. The answer is a line of JSON for
each prompt, the text; or one that ends the answer: an object with `error`, and `memory` where that did not suffice.
"""

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from typing import Any


def answers(request: dict[str, Any], n_bytes: int, n_most: int) -> Iterator[object]:
    """Yield the prompts of a request, or after some of them what went wrong."""
    from misfired.scoring.sandbox import render_each  # noqa: PLC0415  found by argument 1

    try:
        for text in render_each(request):
            if len(text) > n_most:
                found = f"a prompt must have at most {n_most:,} characters, got {len(text):,}"
                yield {"error": found}
                return
            text.encode()
            yield text
    except MemoryError:
        yield {"error": f"needs more than {n_bytes >> 20} MiB of memory"}
    except Exception as error:  # A template can raise anything.
        yield {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def main(n_bytes: int, n_most: int) -> None:
    """Limit the memory, then answer until standard input ends."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415  not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        n_bytes = n_bytes if most == resource.RLIM_INFINITY else min(n_bytes, most)
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    # Ctrl-C is the parent's: it ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = getattr(signal, "setitimer", lambda *_: None)
    timer = getattr(signal, "ITIMER_PROF", None)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        # Without a handler the signal ends the process, whatever it is doing.
        limit(timer, request["seconds"])
        for answer in answers(request, n_bytes, n_most):
            sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        limit(timer, 0.0)


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    main(int(sys.argv[2]), int(sys.argv[3]))
