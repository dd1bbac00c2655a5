"""Which tokens of the replica hold what: the published token_ids and group sizes, and the rest drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks import N_TOKENS
from tests.support.replica_tokenizer import N_BYTES, N_SPECIAL

# The published duplicate groups: their sizes, and the lowest token_id of each.
GROUP_SIZES = (814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2)
GROUP_FIRST_IDS = (
    80091, 125, 124, 124350, 123939, 119349, 126268, 132383, 135619, 136831, 180, 126775, 126816,
)  # fmt: skip
# The published lowest token_ids of the cluster. Those up to 187 are bytes that occur in no UTF-8 text.
FIRST_IDS = (124, 125, *range(177, 188), 77150, 80091, 83971, 119346, 119347, 119348, 119349)
N_SINGLES = 112
N_CLUSTER = sum(GROUP_SIZES) + N_SINGLES
N_PAST_VOCABULARY = 267


@dataclass(frozen=True)
class Layout:
    """Which tokens hold what: `frozen`, a list for each of the 125 vectors; `near` and `turned`, one token each."""

    frozen: list[list[int]]
    near: list[int]
    turned: list[int]

    def tokens(self) -> list[list[int]]:
        """Return the tokens of each planted vector."""
        return [*self.frozen, *([i] for i in (*self.near, *self.turned))]


def draw_layout(n_tokens: int, n_near: int, n_turned: int, generator: np.random.Generator) -> Layout:
    """Draw the cluster's token_ids, with the published ones where they fit, and the others'."""
    place = _scaled(sorted({*FIRST_IDS, *GROUP_FIRST_IDS}), n_tokens)
    firsts = [place[i] for i in GROUP_FIRST_IDS]
    n_vocab, fixed = n_tokens - N_PAST_VOCABULARY, set(place.values())
    free = np.array([i for i in range(place[FIRST_IDS[-1]] + 1, n_vocab - N_SPECIAL) if i not in fixed])
    drawn = generator.choice(free, N_CLUSTER - N_PAST_VOCABULARY - len(fixed), replace=False)
    left = sorted({*fixed, *drawn.tolist(), *range(n_vocab, n_tokens)} - set(firsts))
    groups: dict[int, list[int]] = {}
    # The groups that begin last choose first: fewer tokens will do for them.
    for first, size in sorted(zip(firsts, GROUP_SIZES, strict=True), reverse=True):
        later = [i for i in left if i > first]
        chosen = generator.choice(later, size - 1, replace=False).tolist()
        groups[first] = sorted([first, *chosen])
        left = sorted(set(left) - set(chosen))
    members = {i for ids in groups.values() for i in ids} | set(left)
    others = np.array([i for i in range(N_BYTES, n_vocab) if i not in members])
    outside = generator.choice(others, n_near + n_turned, replace=False).tolist()
    frozen = [groups[first] for first in firsts] + [[i] for i in left]
    return Layout(frozen, outside[:n_near], outside[n_near:])


def _scaled(ids: Sequence[int], n_tokens: int) -> dict[int, int]:
    """Return where ascending token_ids go in a smaller vocabulary: bytes stay, the others keep their order.

    >>> _scaled([124, 77150, 119348, 119349], 24_000)
    {124: 124, 77150: 12187, 119348: 18852, 119349: 18853}
    """
    place: dict[int, int] = {}
    last = -1
    for i in ids:
        last = max(last + 1, i if i < N_BYTES else round(i * n_tokens / N_TOKENS))
        place[i] = last
    return place
