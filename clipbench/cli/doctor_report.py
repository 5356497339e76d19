"""What ``clipbench doctor`` finds and how it says it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tabulate import tabulate

from clipbench import __version__
from clipbench.data.cache import cache_dir
from clipbench.data.catalogue import known
from clipbench.data.download.faults import size
from clipbench.models.weights.catalogue import checkpoints, hub_cache
from clipbench.plan.needs import Here, has_weights
from clipbench.plan.speed import calibrate, rates
from clipbench.registry import find

_NEEDED = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "numpy",
    "scipy",
    "pillow",
    "safetensors",
    "huggingface_hub",
)
_OPTIONAL = {"transformers": "CLIPSeg", "gdown": "data sets on Google Drive", "nvidia-ml-py": "energy"}
_LITTLE_ROOM = 5e9
_COUNTED = ("", "cells", "runnable", "data missing", "weights missing", "not implemented", "with --smoke")


def examine(data_root: Path, out: Path, *, measure: bool = False) -> dict[str, Any]:
    """Everything that the report says; with ``measure`` the device's speed is measured now."""
    here = Here(data_root)
    datasets = [here.dataset(name) for name in known()]
    folders = {"results": out, "cache": cache_dir(), "data": data_root, "weights": hub_cache()}
    return {
        "clipbench": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "versions": {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)},
        "device": _device(measure=measure),
        "disk": {what: _disk(folder) for what, folder in folders.items()},
        "data": {state: [d.dataset for d in datasets if d.state == state] for state in ("complete", "incomplete")},
        "weights": [f"{c.backbone} {c.weights}" for c in checkpoints() if has_weights(c.backbone, c.weights)],
        "tables": [{"table": figure.id, **here.count(paper, figure).as_dict()} for paper, figure in find([])],
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(*, measure: bool) -> dict[str, Any]:
    """The device that ``--device auto`` takes, and its arithmetic; ``error`` where PyTorch cannot say."""
    try:
        import torch

        from clipbench.engine.device import pick_device

        device = pick_device("auto")
        known = calibrate(device) if measure else rates(device.type)
        found: dict[str, Any] = {
            "auto": str(device),
            "threads": torch.get_num_threads(),
            "operations_per_second": dict(known.measured),
        }
        if device.type == "cuda":
            return found | {"cuda": [_gpu(i) for i in range(torch.cuda.device_count())], "precision": _on_gpu()}
    except Exception as error:  # a broken installation fails in many ways, and saying so is this command's purpose
        return {"error": f"{type(error).__name__}: {error}"}
    if device.type == "mps":
        return found | {"precision": {"fp32": "yes", "bf16": "yes, by autocast", "fp16": "yes, by autocast"}}
    return found | {"processor": _processor(), "precision": _on_cpu()}


def _gpu(index: int) -> str:
    import torch

    told = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    return f"{told.name}, {size(free)} of {size(total)} free, compute capability {told.major}.{told.minor}"


def _on_gpu() -> dict[str, str]:
    import torch

    native = torch.cuda.get_device_capability()[0] >= 8
    return {"fp32": "yes", "bf16": "yes" if native else "emulated, slow: use fp16 or fp32", "fp16": "yes"}


def _on_cpu() -> dict[str, str]:
    flags = _cpuinfo("flags")
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    return {"fp32": "yes", "bf16": "yes" if native else "emulated, slow: use fp32", "fp16": "no, it needs a GPU"}


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    """The first such line of Linux's description of the processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _disk(folder: Path) -> dict[str, Any]:
    """The folder, whether it is there, and the free bytes of its disk."""
    whole = folder.resolve()
    existing = next(path for path in (whole, *whole.parents) if path.exists())
    return {"folder": str(whole), "exists": existing == whole, "free": shutil.disk_usage(existing).free}


def in_words(report: Mapping[str, Any]) -> str:
    """The report as people read it."""
    device = report["device"]
    lines = [f"clipbench {report['clipbench']}, Python {report['python']}", ""]
    lines += [_versions(report["versions"]), "", *_told_device(device), ""]
    for what, disk in report["disk"].items():
        state = "" if disk["exists"] else " (not there yet)"
        little = ": little room" if disk["free"] < _LITTLE_ROOM else ""
        lines.append(f"{what}: {disk['folder']}{state}, {size(disk['free'])} free{little}")
    lines += ["", f"data complete: {', '.join(report['data']['complete']) or 'none'}"]
    lines += [f"data incomplete: {', '.join(report['data']['incomplete']) or 'none'}"]
    lines += [f"weights: {', '.join(report['weights']) or 'none in the caches'}, and the embedded tiny model", ""]
    lines += [tabulate([tuple(e.values()) for e in report["tables"]], headers=_COUNTED), ""]
    lines += ["`clipbench data list TABLE` says what is lacking; --smoke needs neither data nor weights"]
    return "\n".join(lines)


def _versions(versions: Mapping[str, str | None]) -> str:
    there = [f"{name} {version}" for name, version in versions.items() if version]
    lacking = [f"{name} (for {_OPTIONAL.get(name, 'everything')})" for name, version in versions.items() if not version]
    return ", ".join(there) + (f"; not installed: {', '.join(lacking)}" if lacking else "")


def _told_device(device: Mapping[str, Any]) -> list[str]:
    if "error" in device:
        return [f"device: PyTorch does not work here ({device['error']}). Reinstall it for this machine: pytorch.org"]
    what = "; ".join(device.get("cuda", [device.get("processor", "")]))
    lines = [f"device: {device['auto']} ({what}), {device['threads']} threads"]
    speed = [f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in device["operations_per_second"].items()]
    lines.append("matrix products: " + (", ".join(speed) or "not measured (`clipbench doctor --speed`)"))
    return [*lines, "precision: " + ", ".join(f"{name} {said}" for name, said in device["precision"].items())]
