"""The papers' sentences as checks: read from ``claims.toml`` and held against the printed numbers."""
