"""What this machine offers: versions, threads, SIMD, caches, data, and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from sastdeploy import __version__
from sastdeploy.provenance import usable_cores

REQUIRED = (
    "torch",
    "numpy",
    "numba",
    "onnx",
    "onnxruntime",
    "click",
    "pyyaml",
    "pydantic",
    "rich",
    "matplotlib",
    "pillow",
    "pooch",
    "filelock",
    "platformdirs",
)
OPTIONAL = {
    "tonic": "second opinion on the recordings' readers in the tests; pip install 'sastdeploy[tonic]'",
    "distributed": "sweeps on a Dask cluster; pip install 'sastdeploy[cluster]'",
}
SIMD_FEATURES = (
    "sse4.2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512vnni",
    "avxvnni",
    "neon",
    "sve",
)


@dataclass(frozen=True)
class Finding:
    """One line of the examination: ``status`` is ``ok``, ``note`` (works without it) or ``missing`` (must be mended)."""

    what: str
    status: str
    detail: str


def examine(data_root: Path) -> list[Finding]:
    """Return the findings for this machine, environment and data folder, the most basic first."""
    findings = [
        Finding("sastdeploy", "ok", __version__),
        Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    findings += [_package(name) for name in REQUIRED]
    findings += [_optional(name, why) for name, why in OPTIONAL.items()]
    findings += [_cores(), _simd(), _numba_threads(), _numba_cache(), _gpu()]
    return findings + _data(data_root)


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", f"not installed: pip install {name}")


def _optional(name: str, why: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, "note", f"not installed ({why})")
    return Finding(name, "ok", importlib.metadata.version(name))


def _cores() -> Finding:
    return Finding("cores", "ok", f"{usable_cores()} usable of {os.cpu_count()}")


def _simd() -> Finding:
    try:
        from llvmlite import binding
    except ImportError:
        return Finding("SIMD", "missing", "llvmlite is not installed: pip install numba")
    features = binding.get_host_cpu_features()
    seen = [name for name in SIMD_FEATURES if features.get(name)]
    return Finding("SIMD seen by Numba", "ok", f"{binding.get_host_cpu_name()}: {', '.join(seen) or 'none'}")


def _numba_threads() -> Finding:
    try:
        from numba.core import config  # its attributes are set at run time, from the environment
    except ImportError:
        return Finding("Numba threads", "missing", "numba is not installed: pip install numba")
    if config.DISABLE_JIT:
        return Finding("Numba threads", "note", "NUMBA_DISABLE_JIT is set: simulation will be very slow")
    return Finding("Numba threads", "ok", f"{config.NUMBA_NUM_THREADS} at most")


def _numba_cache() -> Finding:
    from sastdeploy._kernels.cache_files import damaged_files
    from sastdeploy._kernels.jit import cache_folder, cache_place

    folder = cache_folder()
    if folder:
        text = f"compiled kernels are kept in {folder} ({_megabytes(folder)})"
        damaged = damaged_files(folder)
        if damaged:
            text += f"; damaged: {', '.join(path.name for path in damaged[:3])}"
            text += f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
            text += ", compiled anew when next used"
        others = [path for path in cache_place().iterdir() if path.is_dir() and path != folder]
        if others:
            text += (
                f"; {len(others)} folders of other versions beside it ({_megabytes(*others)}) can be deleted"
            )
        return Finding("kernel cache", "note" if damaged else "ok", text)
    return Finding(
        "kernel cache",
        "note",
        "the user's cache folder is read-only: kernels are compiled at every start; set NUMBA_CACHE_DIR",
    )


def _megabytes(*folders: Path) -> str:
    sizes = (path.lstat().st_size for folder in folders for path in folder.rglob("*"))
    return f"{sum(sizes) / 1e6:.1f} MB"


def _gpu() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", "missing", "torch is not installed: pip install torch")
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", "ok", torch.cuda.get_device_name(0))
    return Finding("GPU", "note", "none seen by torch; everything runs on the CPU")


def _data(root: Path) -> list[Finding]:
    from sastdeploy.recordings.catalog import CATALOG

    findings = [
        Finding(
            "data folder",
            "ok" if root.is_dir() else "note",
            str(root) if root.is_dir() else f"{root} (not made yet)",
        )
    ]
    for name, dataset in CATALOG.items():
        here = (root / name).is_dir()
        findings.append(
            Finding(
                f"data set {name}",
                "ok" if here else "note",
                str(root / name) if here else f"not here: {dataset.install_command}",
            )
        )
    return findings
