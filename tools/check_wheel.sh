#!/usr/bin/env bash
# Build the wheel, install it where no Rust can be found, and use it: `tools/check_wheel.sh [FOLDER]`.
# The wheel must hold the core and no llama.cpp.
set -eu -o pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dist=${1:-$work/dist}

python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet 'maturin>=1.9,<2'
"$work/build/bin/maturin" build --release --quiet --out "$dist"
wheel=$(ls -t "$dist"/misfired-*.whl | head -1)
python3 - "$wheel" <<'PY'
import sys, zipfile
names = zipfile.ZipFile(sys.argv[1]).namelist()
core = [name for name in names if name.startswith("misfired/_core")]
assert any(name.endswith((".so", ".pyd")) for name in core), "the wheel has no core"
foreign = [name for name in names if "llama_cpp/" in name or "libllama" in name or "ggml" in name]
assert not foreign, f"the wheel holds llama.cpp: {foreign}"
print(f"{sys.argv[1].rpartition('/')[2]}: {len(names)} files")
PY

python3 -m venv "$work/clean"
# Only the system's own programs: no cargo, no rustc. llama-cpp-python may still be built by a C++ compiler.
export PATH=/usr/bin:/bin
if command -v cargo rustc; then echo "Rust is on $PATH, so this proves nothing" >&2; exit 1; fi
"$work/clean/bin/pip" install --quiet "$wheel"
cd "$work"
clean/bin/misfired --help >/dev/null
clean/bin/python - <<'PY'
from misfired import score
from misfired.suites.organism import build_organism_suite, models
answers = score(models()["base"], build_organism_suite().head(8), protocol="logit-bare").answers
assert set(answers["outcome"]) == {"correct"}, answers
print(f"{len(answers)} prompts scored by the installed wheel")
PY
