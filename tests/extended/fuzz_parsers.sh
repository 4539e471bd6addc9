#!/usr/bin/env bash
# Every parser for FUZZ_S seconds (default 20): a folder of seeds for each kind of file, out of the
# fixtures and of DATA, changed at random and parsed in child processes. Ends at the first crash.
#
#   FUZZER=target/release/examples/fuzz_parsers tests/extended/fuzz_parsers.sh DATA
set -euo pipefail
data="$(cd "${1:?usage: tests/extended/fuzz_parsers.sh DATA}" && pwd)"
here="$(cd "$(dirname "$0")" && pwd)"
fuzzer="$(realpath "${FUZZER:?the program fuzz_parsers}")"
seeds="$(mktemp -d)"
trap 'rm -rf "$seeds"' EXIT
"$here/fuzz_seeds.py" "$data" "$seeds"
for kind in "$seeds"/*/; do
  printf '\n== %s\n' "$(basename "$kind")"
  "$fuzzer" "${FUZZ_S:-20}" 1 "$kind"
done
