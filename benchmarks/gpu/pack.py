"""What the check needs beside this checkout, torch and transformers, in one archive for a machine without a network.

`python -m benchmarks.gpu.pack gpu-check.tar.xz --python /path/to/python3.12`: Triton and the few packages that such a machine
lacks, as wheels for CPython 3.12 without what the check does not read; and a Python 3.12 with a shared libpython, which Triton's
Python backend loads and many machines' own Python lacks. There: benchmarks/gpu/run.sh.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PYTHON = "3.12"
PACKAGES = ("nvidia-pytriton", "numpy", "scipy", "orjson", "httptools", "tritonclient", "python-rapidjson", "protobuf")
"""numpy before 2 (Triton's stub crashes with 2), and the last scipy that takes it."""
PLATFORMS = (
    "manylinux_2_35",
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_24",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux1",
)
NEEDED_OF_TRITON = ("bin", "backends", "caches", f"python_backend_stubs/{PYTHON}")
NOT_OF_SITE = ("tests", "__pycache__", "pytriton/examples", "f2py")
NOT_OF_PYTHON = (
    "test",
    "idlelib",
    "ensurepip/_bundled",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "__pycache__",
)
MOST_MIB = 58


def main() -> int:
    """1 where the archive is too large to travel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--python", type=Path, required=True, help=f"a Python {PYTHON} with a shared libpython")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ragfleet-pack-") as name:
        folder = Path(name)
        site(folder / "site")
        python(folder / "python", args.python)
        strip(folder)
        with tarfile.open(args.archive, "w:xz", preset=6) as archive:
            archive.add(folder, ".")
    size = args.archive.stat().st_size / 2**20
    print(f"{args.archive}: {size:.1f} MiB (bound {MOST_MIB})")
    return 0 if size <= MOST_MIB else 1


def site(folder: Path) -> None:
    """The packages, as they lie in site-packages."""
    wheels = folder.parent / "wheels"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(wheels)]
    command += ["--python-version", PYTHON, "--implementation", "cp", "-c", str(PROJECT / "constraints.txt")]
    command += [f"--platform={platform}_x86_64" for platform in PLATFORMS]
    subprocess.run([*command, *PACKAGES], check=True)
    for wheel in wheels.iterdir():
        shutil.unpack_archive(wheel, folder, "zip")
    shutil.rmtree(wheels)
    triton = folder / "pytriton" / "tritonserver"
    kept = folder.parent / "kept"
    for part in NEEDED_OF_TRITON:
        (kept / part).parent.mkdir(parents=True, exist_ok=True)
        (triton / part).rename(kept / part)
    shutil.rmtree(folder / "pytriton")
    triton.parent.mkdir()
    kept.rename(triton)
    for binary in (*(triton / "bin").iterdir(), *triton.rglob("*_stub")):
        binary.chmod(0o755)
    for library in (folder / "nvidia_pytriton.libs").glob("libpython*"):
        library.unlink()  # for the stub of another version
    leave_out(folder, NOT_OF_SITE)


def python(folder: Path, interpreter: Path) -> None:
    """The interpreter and its standard library, fit to be moved."""
    ask = "import sys, sysconfig; print(sys.base_prefix, *sys.version_info[:2], sysconfig.get_config_var('INSTSONAME'))"
    told = subprocess.run([interpreter, "-c", ask], check=True, capture_output=True, text=True).stdout.split()
    prefix, version, library = Path(told[0]), f"{told[1]}.{told[2]}", told[3]
    if version != PYTHON or ".so" not in library:
        raise SystemExit(f"{interpreter} is {version} with {library}; wanted: {PYTHON} with a shared libpython")
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    shutil.copy(prefix / "bin" / f"python{PYTHON}", folder / "bin")
    shutil.copy(prefix / "lib" / library, folder / "lib")
    shutil.copytree(prefix / "lib" / f"python{PYTHON}", folder / "lib" / f"python{PYTHON}", symlinks=True)
    leave_out(folder / "lib" / f"python{PYTHON}", NOT_OF_PYTHON)
    for static in (folder / "lib" / f"python{PYTHON}").glob("config-*"):
        shutil.rmtree(static)
    (folder / "prefix").write_text(str(prefix))


def strip(folder: Path) -> None:
    """Without the symbols that only a debugger reads. scipy's libraries were patched in a way that does not outlive it."""
    for path in folder.rglob("*"):
        if "scipy.libs" in path.parts:
            continue
        if path.is_file() and not path.is_symlink() and path.open("rb").read(4) == b"\x7fELF":
            subprocess.run(["strip", "--strip-unneeded", path], check=False, stderr=subprocess.DEVNULL)


def leave_out(folder: Path, parts: Iterable[str]) -> None:
    """These folders, wherever they are beneath it."""
    for part in parts:
        for path in list(folder.rglob(part)):
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
