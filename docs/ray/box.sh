#!/usr/bin/env bash
# One machine with GPUs: begins Ray, times rows on all of its GPUs at once, ends Ray.
# Usage: box.sh RESULTS ROW...
set -euo pipefail

results=$1
shift

# records are all that passes through the object store, so a quarter of a gigabyte is plenty
ray start --head --port 6379 --include-dashboard false --disable-usage-stats \
  --object-store-memory 268435456
trap 'ray stop' EXIT

vidcost time "$@" --device cuda --dtype fp32,tf32,bf16 \
  --engine ray --address 127.0.0.1:6379 --results "$results"
