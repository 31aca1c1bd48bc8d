"""Installs NVIDIA's headers and libraries from PyPI, for the tests that compare with them.

python3 tools/nvidia/install.py LIST DIRECTORY

LIST is a requirements file of pip with exact versions and checksums. DIRECTORY gets `include/`, `lib/`
and a copy of the list, which tells what is installed; it appears when all of it is there. The packages
are unpacked and nothing of theirs is run.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Of the packages' files, the headers and libraries that are compared with: the rest is gigabytes.
WANTED = re.compile(
    r"nvidia/\w+/(include/(?:(?:crt|nv)/.+|[^/]+)|lib/lib(?:nvrtc|cublas|cudnn|nccl)[.\w-]*?\.so[.\d]*)"
)
UNWANTED = re.compile(r"lib/libcudnn_")  # what libcudnn.so opens by need


def install(packages: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="new.") as directory:
        wheels, new = Path(directory, "wheels"), Path(directory, "new")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
            + ["--only-binary=:all:", "--dest", wheels, "--requirement", packages],
            check=True,
        )
        for wheel in wheels.iterdir():
            with zipfile.ZipFile(wheel) as files:
                for name in files.namelist():
                    match = WANTED.fullmatch(name)
                    if not match or UNWANTED.match(match[1]):
                        continue
                    path = new / match[1]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with files.open(name) as source, path.open("wb") as copy:
                        shutil.copyfileobj(source, copy, 1 << 20)
            wheel.unlink()
        shutil.copy(packages, new / "packages.txt")
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    try:
        install(Path(sys.argv[1]), Path(sys.argv[2]))
    except subprocess.CalledProcessError as error:  # pip has said why
        sys.exit(error.returncode)
