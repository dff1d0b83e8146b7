"""Word counts for a Context, from a dictionary."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from echomox.filter.context import Counts, LookUp
from echomox.filter.hashing import Hashes, hashes


def known(counts: Mapping[str, tuple[int, int]]) -> LookUp:
    """Looks up in `counts` as it is when it is asked."""

    def look_up(wanted: Hashes) -> Counts:
        table = dict(zip(hashes(list(counts)).tolist(), counts.values()))
        return np.array([table.get(one, (0, 0)) for one in wanted.tolist()], np.int32).reshape(-1, 2)

    return look_up
