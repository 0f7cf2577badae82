"""Matching by the book: regular expressions, an edit table, scipy's assignment."""

import re
from collections import defaultdict

import numpy as np
from scipy.optimize import linear_sum_assignment

TOKEN = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*|[^\w\s]|_")


def split(text):
    words = TOKEN.findall(text.lower().replace("\u2019", "'"))
    found = []
    for word in words:
        if word.endswith("'s") and word != "'s":
            found += [word[:-2], "'s"]
        else:
            found.append(word)
    return found


def tokens(text, people=None):
    words = split(text)
    if people is None:
        return words
    phrases = [(split(phrase), role) for phrase, role in zip(people, ("T", "O"), strict=True)]
    phrases.sort(key=lambda pair: -len(pair[0]))
    out, at = [], 0
    while at < len(words):
        for phrase, role in phrases:
            if phrase and words[at : at + len(phrase)] == phrase:
                if out and out[-1] == "an":
                    out[-1] = "a"
                out.append(role)
                at += len(phrase)
                break
        else:
            out.append(words[at])
            at += 1
    return out


def edits(left, right):
    """Edits between two lists; what both begin or end with needs none."""
    while left and right and left[0] == right[0]:
        left, right = left[1:], right[1:]
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    row = list(range(len(right) + 1))
    for i, a in enumerate(left):
        above, row = row, [i + 1]
        for j, b in enumerate(right):
            row.append(min(above[j] + (a != b), above[j + 1] + 1, row[j] + 1))
    return row[-1]


def strangers(left, right):
    if left is None:
        return 0
    names = [[name.strip().lower() for name in people] for people in (left, right)]
    return (names[0][0] != names[1][1]) + (names[0][1] != names[1][0])


def costs(left, right):
    """Costs of two sides, lists of (text, people): edits and strangers, equal texts compared once."""
    masked = [[tuple(tokens(*one)) for one in side] for side in (left, right)]
    known = {}
    matrix = np.zeros((len(left), len(right)), dtype=np.int64)
    for i, a in enumerate(masked[0]):
        for j, b in enumerate(masked[1]):
            if (a, b) not in known:
                known[a, b] = edits(a, b)
            matrix[i, j] = known[a, b] + strangers(left[i][1], right[j][1])
    return matrix


def weighted(matrix):
    """One exact swap less costs more than everything else."""
    penalty = 1 + matrix.max(initial=0) * min(matrix.shape)
    return np.where(matrix > 0, matrix + penalty, 0)


def match(left, right, max_pairs):
    """`(cost, i, j)` of the pairs kept, best first."""
    matrix = costs(left, right)
    rows, columns = linear_sum_assignment(weighted(matrix))
    found = sorted((int(matrix[i, j]), int(i), int(j)) for i, j in zip(rows, columns, strict=True))
    return found[:max_pairs]


def groups(rows, key):
    by = defaultdict(list)
    for row in rows:
        by[key(row)].append(row)
    return by
