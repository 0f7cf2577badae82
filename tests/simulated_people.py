"""Simulated annotators, who answer the pages of a running server as a browser does, without a script."""

import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from unittest import mock

from misfired.annotate.record import Record
from misfired.annotate.stories import PRACTICE
from misfired.annotate.study import Study

#: Answers to the pages that ask no question of the study.
OTHER_PAGES = {
    "consent": "agree",
    "instructions": "start",
    **{f"practice/{n}": each[2] for n, each in enumerate(PRACTICE, start=1)},
    f"practice/{len(PRACTICE) + 1}": "begin",
    "end": "end",
}

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(
    url: str, form: dict[str, str] | None = None, **headers: str
) -> tuple[int, str, str, dict[str, str]]:
    """Return status, final address, body and headers; a form is posted."""
    data = None if form is None else urllib.parse.urlencode(form).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named)  # noqa: S310
    try:
        with _opener.open(request, timeout=30) as reply:
            return reply.status, reply.url, reply.read().decode(), dict(reply.headers)
    except urllib.error.HTTPError as error:
        return error.code, url, error.read().decode(), dict(error.headers)


def fields(page: str) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in found}


class Browser:
    """A person with a link who answers with `choose(text of the question's page)`."""

    def __init__(self, link: str, choose: Callable[[int], str]) -> None:
        self.link, self.choose = link, choose
        #: Answers that the server has acknowledged, by place.
        self.acknowledged: dict[int, str] = {}

    def step(self) -> bool:
        """Do the next thing; False once everything is answered."""
        _, url, page, _ = fetch(self.link)
        name = url.split("/", 5)[5]
        if name == "done":
            return False
        if name in OTHER_PAGES:
            fetch(url, fields(page) | {"answer": OTHER_PAGES[name]})
            return True
        place = int(name.removeprefix("q/")) - 1
        answer = self.choose(place)
        status, *_ = fetch(url, fields(page) | {"answer": answer})
        assert status == 200
        self.acknowledged[place] = answer
        return True

    def finish(self) -> None:
        while self.step():
            pass


class Server:
    """`misfired annotate serve` in a process of its own."""

    def __init__(self, study: Path, port: int = 0, *more: str) -> None:
        words = ["-m", "misfired", "annotate", "serve", str(study), "--port", str(port), *more]
        self.process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if "Ctrl-C" in line:
                break
        self.links = [line.split()[1] for line in self.lines if " http" in line]
        if not self.links:
            raise AssertionError(self.process.communicate()[1])
        self.port = int(self.lines[0].partition(";")[0].rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def stop(self) -> str:
        """Interrupt it; return what it wrote on stderr."""
        self.process.terminate()
        return self.process.communicate(timeout=30)[1]


@contextmanager
def serving(study: Study | Path, *more: str) -> Iterator[Server]:
    server = Server(study.path if isinstance(study, Study) else study, 0, *more)
    try:
        yield server
    finally:
        server.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


#: Kinds of people, each a function of a generator and of what is asked: the right answer, its side, its kind.
KINDS: dict[str, Callable[[random.Random, dict[str, str]], str]] = {
    "never": lambda _, item: item["expected"],
    "seldom": lambda rng, item: _misfire(rng, item, 0.03),
    "often": lambda rng, item: _misfire(rng, item, 0.3),
    "careless": lambda rng, item: (
        rng.choice(["yes", "no"]) if rng.random() < 0.5 else item["expected"]
    ),
    "always yes": lambda *_: "yes",
    "always no": lambda *_: "no",
    "cannot tell": lambda *_: "cannot tell",
}


def _misfire(rng: random.Random, item: dict[str, str], rate: float) -> str:
    fails = (item["kind"], item["condition"]) == ("pair", "stereotyped") and rng.random() < rate
    return "no" if fails else item["expected"]


def answer_all(
    study: Study, kinds: list[str], *, n_places: int | None = None, seed: int = 0
) -> None:
    """Let people of these kinds answer, the first `n_places` questions or all, without a server."""
    items = {row["item"]: row for row in study.items().iter_rows(named=True)}
    for (name, order), kind in zip(study.orders().items(), kinds, strict=False):
        rng = random.Random(f"{seed} {name}")
        record = Record(study.path / "answers" / f"{name}.jsonl")
        with mock.patch("os.fsync"):  # as quick as memory
            record.agree("0" * 64)
            for place, item in list(enumerate(order))[record.place : n_places]:
                record.show(place, item)
                record.answer(place, item, KINDS[kind](rng, items[item]), 0)
