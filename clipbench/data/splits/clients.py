"""Training images dealt out to the clients of federated learning: class by class, in shares from a Dirichlet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipbench.errors import UserError

_TRIES = 1000


def dirichlet_clients(
    labels: NDArray[np.int64], clients: int, alpha: float, generator: np.random.Generator, fewest: int = 1
) -> list[NDArray[np.int64]]:
    """The positions in ``labels`` ``[n]`` that each client gets, in rising order; every position goes to one client.

    Each class is cut at shares from a symmetric Dirichlet of ``alpha``, the smaller the more uneven (Hsu et al., 2019);
    all is drawn again until every client has ``fewest`` images. Raises ``UserError`` where that does not come about.
    """
    for _ in range(_TRIES):
        parts: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            members = generator.permutation(np.flatnonzero(labels == label))
            shares = generator.dirichlet(np.full(clients, alpha))
            cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
            for part, piece in zip(parts, np.split(members, cuts), strict=True):
                part.append(piece)
        found = [np.sort(np.concatenate(part)) for part in parts]
        if min(map(len, found)) >= fewest:
            return found
    raise UserError(
        f"{len(labels)} training images cannot be dealt out to {clients} clients by a Dirichlet of {alpha:g} with at "
        f"least {fewest} each; take fewer clients (--set clients=N) or a larger --set client_alpha=X."
    )
