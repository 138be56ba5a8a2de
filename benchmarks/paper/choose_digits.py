"""Choose the MNIST digits that ship inside the package: 12,000 + 2,000, stratified by class, seed 0.

python benchmarks/paper/choose_digits.py FOLDER_OF_THE_FOUR_IDX_FILES
"""

import hashlib
import json
import lzma
import sys
from pathlib import Path

from sastdeploy.synthesis.mnist import SHIPPED, encode_images, encode_labels, load_digits, stratified

SEED = 0
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]


def main(folder: Path) -> None:
    shelf = Path(__file__).resolve().parents[2] / "sastdeploy" / "data"
    files: dict[str, dict[str, object]] = {}
    record: dict[str, object] = {
        "seed": SEED,
        "rule": "stratified by digit (largest remainder), ascending original index",
        "files": files,
    }
    for split, count in SHIPPED.items():
        full = load_digits(split, folder)
        chosen = stratified(full.labels, count, SEED)
        for kind, content in (
            ("images-idx3", encode_images(full.images[chosen])),
            ("labels-idx1", encode_labels(full.labels[chosen])),
        ):
            name = f"mnist-{split}-{kind}-ubyte.xz"
            (shelf / name).write_bytes(lzma.compress(content, format=lzma.FORMAT_XZ, filters=FILTERS))
            files[name] = {"count": count, "sha256_unpacked": hashlib.sha256(content).hexdigest()}
        record[f"{split}_original_indices"] = chosen.tolist()
    (shelf / "mnist-subset.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
