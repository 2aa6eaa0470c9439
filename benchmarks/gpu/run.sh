#!/bin/bash
# The check on a machine with an NVIDIA GPU, Python 3.12, torch and transformers, and no network.
# Usage: benchmarks/gpu/run.sh ARCHIVE (of benchmarks/gpu/pack.py) OUT [arguments of python -m benchmarks.gpu]
set -euo pipefail
archive=$(realpath "$1") out=$(realpath -m "$2")
shift 2
cd "$(dirname "$0")/../.."
here=$(mktemp -d /tmp/ragfleet-gpu-check.XXXXXX)
trap 'rm -rf "$here"' EXIT
python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="tar")' "$archive" "$here"
packages=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
# What Python noted of where it lies is where it was built.
sed -i "s#$(cat "$here/python/prefix")#$here/python#g" "$here"/python/lib/python3.12/_sysconfigdata*.py
export LD_LIBRARY_PATH=$here/python/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
"$here/python/bin/python3.12" -m venv --without-pip "$here/venv"
site=$here/venv/lib/python3.12/site-packages
mv "$here"/site/* "$site"
# The machine's own packages stand behind those that were brought.
echo "import site; site.addsitedir('$packages')" >"$site/zz_machine.pth"
mkdir -p "$out"
export PYTHONPATH=.:model_repository/llm:model_repository/embedding PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
export RAGFLEET_BENCH_DIR=$out
"$here/venv/bin/python" -m benchmarks.gpu "$@" 2>&1 | tee "$out/log"
