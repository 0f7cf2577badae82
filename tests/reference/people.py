"""Two-way intervals of a rate, by loops over pairs of answers: slow, and as the formulas are written."""

from scipy import stats


def crossed(hits, base, person, scenario):
    """Return value, variance and degrees of freedom of sum(hits) / sum(base)."""
    rows = [row for row in zip(hits, base, person, scenario, strict=True) if row[1]]
    n = len(rows)
    value = sum(row[0] for row in rows) / n
    parts = {}
    for name, key in (
        ("scenario", lambda row: row[3]),
        ("person", lambda row: row[2]),
        ("cell", lambda row: row[2:]),
    ):
        groups = sorted({key(row) for row in rows})
        g = len(groups)
        # Every two answers of one group, an answer with itself included.
        total = 0.0
        for one in rows:
            for two in rows:
                if key(one) == key(two):
                    total += (one[0] - value) * (two[0] - value) / n**2
        sums = [sum((row[0] - value) / n for row in rows if key(row) == group) for group in groups]
        fourth = sum(each**4 for each in sums)
        variance = total * g / (g - 1) if g > 1 else 0.0
        excess = fourth / total**2 - 1 / g if total > 0 else 0.0
        degrees = min(g - 1, 2 / excess) if excess > 0 else g - 1
        parts[name] = variance, max(degrees, 1)
    (v_s, d_s), (v_p, d_p), (v_c, _) = parts["scenario"], parts["person"], parts["cell"]
    variance = max(v_s + v_p - v_c, v_s, v_p)
    below = v_s**2 / d_s + v_p**2 / d_p
    return value, variance, max(variance**2 / below, 1.0) if below else 1.0


def interval(value, variance, degrees, n_base, these):
    """Return the interval of the scope `alike` in percent at 95 %; `these` is the narrower one."""
    tail = 0.025
    size = min(value * (1 - value) / variance, n_base)
    size *= (stats.norm.ppf(1 - tail) / stats.t.ppf(1 - tail, degrees)) ** 2
    hits, misses = value * size, (1 - value) * size
    low = 100 * stats.beta.ppf(tail, hits, misses + 1)
    high = 100 * stats.beta.ppf(1 - tail, hits + 1, misses)
    return min(low, these[0]), max(high, these[1])
