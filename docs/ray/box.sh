#!/usr/bin/env bash
# One machine with GPUs: starts Ray, times rows on all GPUs at once, stops Ray.
# Usage: box.sh RESULTS ROW...
set -euo pipefail

results=$1
shift

# only records pass through the object store, so a quarter of a gigabyte is enough
ray start --head --port 6379 --include-dashboard false --disable-usage-stats \
  --object-store-memory 268435456
trap 'ray stop' EXIT

vidcost time "$@" --device cuda --dtype fp32,tf32,bf16 \
  --engine ray --address 127.0.0.1:6379 --results "$results"
