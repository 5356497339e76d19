"""What all tests share: a cache folder of their own, one thread for PyTorch, and no data folder by chance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipbench.plan.runnable import missing_reason

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch is imported: two threads on a busy machine crawl


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The smoke subsets and decoded images of this session; subprocesses inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CLIPBENCH_DATA", raising=False)
        yield


@pytest.fixture
def no_method_is_implemented(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if this version of clipbench had no method yet; nothing that was asked before or within is remembered."""
    monkeypatch.setattr("clipbench.plan.runnable.METHODS", {})
    missing_reason.cache_clear()
    yield
    missing_reason.cache_clear()


@pytest.fixture
def shared() -> Path:
    """The folder of real data and weights beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist")
    return folder
