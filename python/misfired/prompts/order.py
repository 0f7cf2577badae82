"""The order in which pairs are asked: drawn by seed, and in proportion from every category and scenario."""

import hashlib
from collections import Counter

import polars as pl


def digest(seed: int, *words: str) -> bytes:
    """Return 32 bytes that a seed and words decide; sorting by them draws an order.

    A hash rather than a generator: the draw does not depend on the order of the rows.

    Example:
        >>> sorted("abc", key=lambda name: digest(3, name))
        ['c', 'a', 'b']
    """
    return hashlib.sha256("\0".join((str(seed), *words)).encode()).digest()


def scenario_places(pairs: pl.DataFrame, *, seed: int = 0) -> dict[str, float]:
    """Return the place between 0 and 1 of each scenario, in the order of places.

    The scenarios of a category stand at even distances, in an order drawn by the seed. So the first
    scenarios of the order hold every category in proportion.

    Args:
        pairs: Columns `category` and `scenario`; a scenario belongs to the category of its first pair.
        seed: Decides the order, together with the names of the scenarios.

    Example:
        >>> pairs = pl.DataFrame({"category": list("xxxxyy"), "scenario": list("abcdef")})
        >>> scenario_places(pairs)
        {'d': 0.125, 'f': 0.25, 'a': 0.375, 'c': 0.625, 'e': 0.75, 'b': 0.875}
    """
    named = pairs.select("scenario", "category").unique("scenario", keep="first")
    drawn = sorted(named.iter_rows(), key=lambda row: digest(seed, "scenario", row[0]))
    sizes, seen, places = Counter(category for _, category in drawn), Counter[str](), {}
    for scenario, category in drawn:
        places[scenario] = (seen[category] + 0.5) / sizes[category]
        seen[category] += 1
    # The sort is stable: scenarios of one place keep the order drawn.
    return dict(sorted(places.items(), key=lambda item: item[1]))


def limit_pairs(pairs: pl.DataFrame, limit: int | None, *, seed: int = 0) -> pl.DataFrame:
    """Return at most `limit` pairs, in proportion from every scenario; a smaller limit is part of a larger.

    Pair k of the n of a scenario at place u has the key (k + u) / n, with k from 0 in an order drawn by
    the seed; the pairs of the smallest keys are taken. So each scenario has given its share at any limit,
    and a limit of at most the number of scenarios takes most pairs from scenarios of their own.

    Args:
        pairs: Contrastive pairs; `twin_of` where the suite has twins.
        limit: Most pairs; a pair brings its twins, which do not count. None takes all.
        seed: Decides which.

    Returns:
        The pairs taken, in the order of the suite.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": list("abcdef"), "category": "x", "scenario": ["s", "s", "s", "s", "t", "t"]})
        >>> [limit_pairs(pairs, n)["id"].str.join().item() for n in (1, 3, 5)]
        ['f', 'cdf', 'acdef']
    """
    if limit is None:
        return pairs
    taken = pair_order(pairs, seed=seed)[:limit]
    return pairs.filter(pair_of(pairs).is_in(taken))


def pair_order(pairs: pl.DataFrame, *, seed: int = 0) -> list[str]:
    """Return the ids of the pairs, without twins, in the order in which `limit_pairs` takes them.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": list("abcd"), "category": "x", "scenario": ["s", "s", "s", "t"]})
        >>> pair_order(pairs)
        ['d', 'c', 'a', 'b']
    """
    heads = pairs.filter(pl.col("id") == pair_of(pairs)).select("id", "scenario")
    places = scenario_places(pairs, seed=seed)
    members: dict[str, list[str]] = {scenario: [] for scenario in places}
    for name, scenario in heads.iter_rows():
        members[scenario].append(name)
    keys = []
    for place, (scenario, names) in enumerate(members.items()):
        names.sort(key=lambda name: digest(seed, "pair", name))
        keys += [((k + places[scenario]) / len(names), place, n) for k, n in enumerate(names)]
    return [name for *_, name in sorted(keys)]


def pair_of(pairs: pl.DataFrame) -> pl.Expr:
    """Return the id of the pair that a row belongs to: a twin's is that of its pair."""
    return pl.coalesce("twin_of", "id") if "twin_of" in pairs.columns else pl.col("id")
