#!/usr/bin/env bash
# The extended checks: a release server on real material, through HTTP. Ends non-zero if one failed.
#
#   tests/extended/run.sh DATA
#
#   RAGSTONE  the program   (default: target/release/ragstone)
#   CHECKS    which checks  (default: all; for example CHECKS="chinese restart")
#
# Needs Python 3.11 with pip and poppler-utils; installs poppler-utils if it is missing and may, and
# the packages of tests/reference/requirements.txt into a folder of their own.
set -euo pipefail
data="$(cd "${1:?usage: tests/extended/run.sh DATA}" && pwd)"
here="$(cd "$(dirname "$0")" && pwd)"
RAGSTONE="$(realpath "${RAGSTONE:-$here/../../target/release/ragstone}")"
[ -x "$RAGSTONE" ] || { echo "no program at $RAGSTONE: make build" >&2; exit 2; }
export RAGSTONE PYTHONDONTWRITEBYTECODE=1

if ! command -v pdftotext >/dev/null; then
  [ "$(id -u)" -eq 0 ] || { echo "pdftotext is missing: apt-get install poppler-utils" >&2; exit 2; }
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends poppler-utils
fi

if ! python3 -c 'import numpy, tokenizers' 2>/dev/null; then
  packages="${XDG_CACHE_HOME:-$HOME/.cache}/ragstone/reference-packages"
  export PYTHONPATH="$packages${PYTHONPATH:+:$PYTHONPATH}"
  python3 -c 'import numpy, tokenizers' 2>/dev/null ||
    python3 -m pip install --quiet --disable-pip-version-check --upgrade --target "$packages" --requirement "$here/../reference/requirements.txt"
fi

passed=0 failed=0
for check in ${CHECKS:-documents markdown_pairs json_suite mail chinese restart retrieval quality hostile tenants api_fuzz many_collections shutdown embedding sdks injection gateway_overhead}; do
  printf '\n== %s\n' "$check"
  start=$SECONDS
  if "$here/$check.py" "$data"; then
    passed=$((passed + 1)) verdict=passed
  else
    failed=$((failed + 1)) verdict=FAILED
  fi
  printf '  %s: %s after %d s\n' "$check" "$verdict" $((SECONDS - start))
done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
