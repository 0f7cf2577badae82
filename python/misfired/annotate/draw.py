"""What a study draws: pairs, false questions, who gets which pair, and everyone's own order."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle, islice, product

import polars as pl

from misfired.annotate.options import StudyOptions
from misfired.annotate.stories import STORIES, STORY_ANSWERS
from misfired.errors import ArgumentError
from misfired.prompts.order import digest
from misfired.prompts.prompt_set import build_prompts
from misfired.suites.false_questions import false_questions
from misfired.suites.twins import READING

ATTENTION, TRUE, FALSE = "attention", "pair", "foil"
"""Kinds of items: an attention item, a prompt of a pair, a false question."""

GAP = 8
"""Questions between two about one pair, where that many pairs are there."""

PAIRS_EACH = 35
"""Pairs of each annotator, where that many are there: a rate needs 30, and some go unscored."""

ITEMS_SCHEMA = dict.fromkeys(
    ("item", "kind", "id", "pair", "condition", "text", "expected"), pl.String()
)
"""Columns of `items.parquet`: `id` is the row of `pairs.parquet`, `pair` the pair that it belongs to."""


def draw_pairs(
    pairs: pl.DataFrame, n_pairs: int, *, seed: int, able: set[str] | None = None
) -> list[str]:
    """Return the ids of `n_pairs` pairs: categories take turns, and in each of them its scenarios.

    Args:
        pairs: A suite; twins (rows with `twin_of`) are not drawn.
        n_pairs: How many.
        seed: Decides which, together with names, whatever the order of the rows.
        able: Ids that come first within their scenario; scenarios that hold some come first, too.

    Raises:
        ArgumentError: The suite has fewer.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": list("abcdef"), "category": list("xxxxyy"), "scenario": list("sssttu")})
        >>> sorted(draw_pairs(pairs, 4, seed=0, able={"a"}))
        ['a', 'd', 'e', 'f']
    """
    if "twin_of" in pairs.columns:
        pairs = pairs.filter(pl.col("twin_of").is_null())
    if n_pairs > len(pairs):
        raise ArgumentError(
            f"n_pairs must be at most {len(pairs)}, the pairs of the suite, got {n_pairs}"
        )
    first = set() if able is None else able
    tree: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, category, scenario in pairs.select("id", "category", "scenario").iter_rows():
        tree[category][scenario].append(name)

    def place(pair: str) -> tuple[bool, bytes]:
        return pair not in first, digest(seed, "pair", pair)

    queues = []
    for category in sorted(tree, key=lambda name: digest(seed, "category", name)):
        drawn = {name: sorted(members, key=place) for name, members in tree[category].items()}
        order = sorted(drawn, key=lambda name: digest(seed, "scenario", name))
        order.sort(key=lambda name: drawn[name][0] not in first)
        queues.append(_in_turn([drawn[name] for name in order]))
    return list(islice(_in_turn(queues), n_pairs))


def _in_turn(queues: Sequence[Sequence[str]]) -> list[str]:
    """Return the first of each queue, then the second of each that has one, and so on."""
    longest = max(map(len, queues), default=0)
    return [queue[k] for k in range(longest) for queue in queues if k < len(queue)]


def foil_rows(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the false questions of pairs, as twins in the columns of the suite; pairs without have none.

    A twin's contrast prompt tells the story of the pair's stereotyped prompt and asks about the other
    person; so it is with the other two.
    """
    found = {row["id"]: row for row in false_questions(pairs).iter_rows(named=True)}
    own = {}
    if "twin_of" in pairs.columns:
        own = {row["twin_of"]: row for row in pairs.iter_rows(named=True) if row["twin_of"]}
    rows = []
    for pair in pairs.iter_rows(named=True):
        false = found.get(pair["id"])
        if false is None or false["reason"] is not None:
            continue
        made = pair | {
            "id": pair["id"] + READING, "twin_of": pair["id"],
            "stereotyped": false["contrast"], "contrast": false["stereotyped"],
            "expected_stereotyped": "no", "expected_contrast": "no",
        }  # fmt: skip
        rows.append(own.get(pair["id"], made))
    return pl.DataFrame(rows, schema={**pairs.schema, "twin_of": pl.String()}, orient="row")


def deal(pairs: pl.DataFrame, drawn: Sequence[str], options: StudyOptions) -> list[list[str]]:
    """Return the pairs of each annotator: the core, then a share of every category and scenario.

    The first pairs drawn are the core. The others are dealt in the order of category and scenario, so
    that neighbours go to different annotators. Without `ratings`, as many of them as are needed go to
    one more annotator than the others, those first that were drawn first.

    Raises:
        ArgumentError: There are fewer pairs than annotators.
    """
    core, rest = list(drawn[: options.n_core]), list(drawn[options.n_core :])
    n_people, n_rest = options.annotators, len(rest)
    wanted = n_rest * (options.ratings or 1)
    if options.ratings is None:
        wanted = min(max(wanted, n_people * (PAIRS_EACH - len(core))), n_people * n_rest)
    least, n_more = divmod(wanted, max(n_rest, 1))
    copies = {name: least + (place < n_more) for place, name in enumerate(rest)}
    if not core and wanted < n_people:
        raise ArgumentError(
            f"annotators must be at most {wanted}, so that everyone has a pair, got {n_people}"
        )
    hands = [list(core) for _ in range(n_people)]
    turns = cycle(hands)
    for name in pairs.filter(pl.col("id").is_in(rest)).sort("category", "scenario", "id")["id"]:
        for hand in islice(turns, copies[name]):
            hand.append(name)
    return hands


def build_items(asked: pl.DataFrame) -> pl.DataFrame:
    """Return one item per prompt of pairs and foils, and all attention items; names say nothing of them."""
    rows = [
        (FALSE if twin else TRUE, name, twin or name, condition, text, expected)
        for name, twin, condition, text, expected in build_prompts(asked)
        .select("id", "twin_of", "condition", "text", "expected").iter_rows()
    ]  # fmt: skip
    stories = product(STORIES, range(len(STORY_ANSWERS)))
    for number, ((story, questions), place) in enumerate(stories):
        name = f"attention-{number}"
        rows.append(
            (ATTENTION, name, name, None, f"{story} {questions[place]}", STORY_ANSWERS[place])
        )
    named = [(f"item-{number}", *row) for number, row in enumerate(rows)]
    return pl.DataFrame(named, schema=ITEMS_SCHEMA, orient="row")


def order_of(
    items: pl.DataFrame, pairs: Sequence[str], options: StudyOptions, annotator: int
) -> list[str]:
    """Return the items of an annotator in an order of its own.

    Items of one pair stand at least `gap` places apart. One attention item stands at a random place of
    each of as many equal stretches.

    Raises:
        ArgumentError: So few pairs allow no such order; the message names the largest gap.
    """
    rng = random.Random(int.from_bytes(digest(options.seed, "order", str(annotator))))  # noqa: S311
    families: dict[str, list[str]] = {}
    own = items.filter(pl.col("pair").is_in(list(pairs)))
    for item, pair in own.select("item", "pair").iter_rows():
        families.setdefault(pair, []).append(item)
    for members in families.values():
        rng.shuffle(members)
    order = _apart(families, gap_for(families, options.gap), rng)
    stories = items.filter(kind=ATTENTION).group_by("expected", maintain_order=True)
    queues = [rng.sample(part["item"].to_list(), len(part)) for _, part in stories]
    n = options.attention
    for k, item in reversed(list(enumerate(_in_turn(queues)[:n]))):
        order.insert(rng.randint(k * len(order) // n, (k + 1) * len(order) // n), item)
    return order


def gap_for(families: Mapping[str, Sequence[str]], asked: int | None) -> int:
    """Return the gap that is asked, by default `GAP` or the largest that is possible.

    Raises:
        ArgumentError: The gap is larger than is possible.

    Example:
        >>> gap_for({"a": ["1", "2"], "b": ["3", "4"], "c": ["5", "6"]}, None)
        3
    """
    sizes = [len(members) for members in families.values()]
    n, most = sum(sizes), max(sizes, default=0)
    # Between the members of the largest families stand groups of `gap`, and those families end the order.
    largest = (n - sizes.count(most)) // (most - 1) if most > 1 else n
    if asked is not None and asked > largest:
        raise ArgumentError(
            f"gap must be at most {largest} with {len(sizes)} pairs a person, got {asked}"
        )
    return min(GAP, largest) if asked is None else asked


def _apart(families: dict[str, list[str]], gap: int, rng: random.Random) -> list[str]:
    """Return all members in a random order in which those of a family are `gap` places apart."""
    for attempt in range(_ATTEMPTS):
        # A random choice may end in a corner; the fullest family first never does.
        if order := _try(families, gap, rng, careful=attempt == _ATTEMPTS - 1):
            return order
    raise ArgumentError(f"gap must be smaller with {len(families)} pairs a person, got {gap}")


_ATTEMPTS = 50


def _try(
    families: dict[str, list[str]], gap: int, rng: random.Random, *, careful: bool
) -> list[str] | None:
    left = {name: list(members) for name, members in families.items()}
    free = dict.fromkeys(left, 0)
    order: list[str] = []
    while left:
        ready = [name for name in left if free[name] <= len(order)]
        if not ready:
            return None
        fullest = max(len(left[name]) for name in ready)
        among = [name for name in ready if not careful or len(left[name]) == fullest]
        name = rng.choices(among, [len(left[each]) ** 2 for each in among])[0]
        order.append(left[name].pop())
        free[name] = len(order) - 1 + gap
        if not left[name]:
            del left[name]
    return order
