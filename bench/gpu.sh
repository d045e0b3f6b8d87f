#!/usr/bin/env bash
# Runs bench/MODULE.py, which needs nothing from outside but what its arguments name; see gpu_check.sh and gpu_bench.sh.
#   bench/gpu.sh MODULE [PICTURES [WHEELS]]
# PICTURES: a folder of colour images with train/ and val/; '' for none. WHEELS: a folder of wheels, of torch from 2.11 on and
# all else that pyproject.toml depends on; an environment .venv-gpu is made of them. Without it PYTHON has the packages.
# Variables: PYTHON (python3), WHEELS, OUT (report/gpu) for the tables, DATA_DIR (data) with Fashion-MNIST,
# DEVICE=cpu for a rehearsal without a GPU, LIMIT (290) seconds in all.
set -euo pipefail

absolute() { [[ -z $1 || $1 == /* ]] && echo "$1" || echo "$PWD/$1"; }
module=${1:?MODULE must be gpu_check or gpu_bench}
pictures=$(absolute "${2:-}") wheels=$(absolute "${3:-${WHEELS:-}}")
python=${PYTHON:-python3}
[[ $python == */* ]] && python=$(absolute "$python")
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(absolute "${OUT:-$root/report/gpu}") data=$(absolute "${DATA_DIR:-$root/data}")
for part in train val; do
    if [[ -n $pictures && ! -d $pictures/$part ]]; then
        echo "$module: PICTURES must be a folder with train/ and val/, got $pictures" >&2
        exit 2
    fi
done
cd "$root"

environment() {
    "$python" -m venv "$1"
    local packages
    mapfile -t packages < <("$1/bin/python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")')
    for name in pytest pytest_xdist; do # for the tests, which are left out without them
        if compgen -G "$wheels/$name-*.whl" >/dev/null; then packages+=("$name"); fi
    done
    "$1/bin/python" -m pip install --quiet --no-index --find-links "$wheels" "${packages[@]}"
    touch "$1/.complete"
}

if [[ -n $wheels ]]; then
    [ -e .venv-gpu/.complete ] || environment .venv-gpu
    python=$root/.venv-gpu/bin/python
fi
left=$((${LIMIT:-290} - SECONDS))
exec "$python" -m "bench.$module" --device "${DEVICE:-cuda}" --out "$out" --data-dir "$data" \
    --pictures "$pictures" --seconds "$left"
