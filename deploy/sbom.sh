#!/usr/bin/env bash
# Writes what the daemon is made of, in the format CycloneDX: deploy/sbom.sh FILE. It lists the crates
# of the shipped features and ONNX Runtime's library, which is loaded and not linked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(realpath -m -- "$1")
eval "$(deploy/setup.sh env)"

# cargo-cyclonedx writes beside Cargo.toml.
name=.tickcast-sbom-$$
trap 'rm -f "$name.json"' EXIT
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} "$TICKCAST_TOOLS/bin/cargo-cyclonedx" cyclonedx --quiet \
  --format json --spec-version 1.5 --no-default-features --features kafka --no-build-deps \
  --target "$(rustc -vV | sed -n 's/^host: //p')" --override-filename "$name"
mkdir -p "$(dirname "$target")"
python3 - "$name.json" "$(realpath "$ORT_DYLIB_PATH")" "$target" <<'PYTHON'
import hashlib, json, pathlib, re, sys

made, library, target = map(pathlib.Path, sys.argv[1:])
bom = json.loads(made.read_text())
root = bom["metadata"]["component"]
# Where it was built, and when, is no part of what it is made of: the same source gives the same file.
text = json.dumps(bom).replace(root["bom-ref"], f"pkg:cargo/tickcast@{root['version']}")
bom = json.loads(text)
root = bom["metadata"]["component"]
root["purl"] = f"pkg:cargo/tickcast@{root['version']}"
root.pop("components", None)
bom["metadata"].pop("timestamp", None)
bom.pop("serialNumber", None)
version = re.search(r"\.so\.(.+)$", library.name)[1]
reference = f"pkg:pypi/onnxruntime@{version}"
bom["components"].append({
    "type": "library", "bom-ref": reference, "purl": reference, "name": "onnxruntime",
    "version": version, "licenses": [{"license": {"id": "MIT"}}],
    "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(library.read_bytes()).hexdigest()}],
})
for each in bom["dependencies"]:
    if each["ref"] == root["bom-ref"]:
        each.setdefault("dependsOn", []).append(reference)
target.write_text(json.dumps(bom, indent=2) + "\n")
PYTHON
