#!/usr/bin/env bash
# The steps of action.yml: RUN, TESTS, BASE, DEVICE and BRANCH are its inputs and the target branch.
set -euo pipefail
read -ra runs <<< "$RUN"
read -ra tests <<< "$TESTS"
status=0
for run in "${runs[@]}"; do
  case $run in
    counts)
      # CI compares and never writes
      CI=true python -m pytest "${tests[@]}" || status=1
      ;;
    time)
      if [ "$BASE" = auto ]; then BASE=origin/$BRANCH; fi
      said=0
      vidcost gate time "${tests[@]}" --base "$BASE" --device "$DEVICE" \
        --out gate.json --junit gate.xml || said=$?
      # a regression outweighs what could not be judged
      if [ "$status" != 1 ]; then status=$said; fi
      ;;
    *)
      echo "::error::run takes counts and time, not '$run'"
      exit 2
      ;;
  esac
done
exit "$status"
