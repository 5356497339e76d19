"""Leave one domain out: a protocol that asks for ``each`` held-out domain is filled by one run per domain and seed.

A run's own protocol names its domain. Cells are looked up by the protocol that asks for each, so that a run counts for
its cell whichever way it was asked for.
"""

from __future__ import annotations

from dataclasses import replace

from clipbench.data.catalogue import entry, known
from clipbench.registry import Protocol

EACH = "each"
"""The word for every domain of the data set, one after the other."""


def domains_of(protocol: Protocol) -> tuple[str, ...]:
    """The domains that a protocol holds out, in the catalogue's order; none where it holds none out."""
    if protocol.test_domain is None:
        return ()
    if protocol.test_domain != EACH:
        return (protocol.test_domain,)
    return tuple(entry(protocol.dataset).domains) if protocol.dataset in known() else ()


def runs_of(protocol: Protocol) -> tuple[Protocol, ...]:
    """The protocols of the runs that fill a cell: one per held-out domain, or the protocol itself."""
    return tuple(replace(protocol, test_domain=name) for name in domains_of(protocol)) or (protocol,)


def cell_of(protocol: Protocol) -> Protocol:
    """The protocol of the cell that a run belongs to: that for each held-out domain, or the protocol itself."""
    return protocol if protocol.test_domain is None else replace(protocol, test_domain=EACH)
