"""Write build/networks.zip, the networks that are not in the package, and print its SHA-256 for app/zoo.py.

The bytes depend on the files only. A release named networks-N of the repository has the file; raise N when it changes.
"""

import hashlib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def write(target: Path, source: Path = ROOT / "networks") -> str:
    """Pack the folders in `source`; returns the SHA-256 of the file."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            archive.writestr(zipfile.ZipInfo(path.relative_to(source).as_posix()), path.read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()


if __name__ == "__main__":
    (ROOT / "build").mkdir(exist_ok=True)
    print(write(ROOT / "build" / "networks.zip"))
