#!/usr/bin/env bash
# The steps of action.yml: RUN, TESTS, BASE, DEVICE and BRANCH are its inputs and the target branch.
set -euo pipefail
read -ra runs <<< "$RUN"
read -ra tests <<< "$TESTS"
status=0

# where HEAD left the target branch: what that branch got since then is no part of the change
merge_base() {
  local branch="refs/remotes/origin/$BRANCH" deepen=()
  if [ "$(git rev-parse --is-shallow-repository)" = true ]; then deepen=(--unshallow); fi
  # a shallow checkout lacks the commits between, and may lack the branch
  if [ ${#deepen[@]} != 0 ] || ! git rev-parse --quiet --verify "$branch" > /dev/null; then
    git fetch --quiet --no-tags "${deepen[@]}" origin "+refs/heads/$BRANCH:$branch" >&2
  fi
  git merge-base "$branch" HEAD
}

for run in "${runs[@]}"; do
  case $run in
    counts)
      # CI compares and never writes
      CI=true python -m pytest "${tests[@]}" || status=1
      ;;
    time)
      if [ "$BASE" = auto ] && ! BASE=$(merge_base); then
        echo "::error::no commit where HEAD left $BRANCH: check out with fetch-depth: 0"
        exit 2
      fi
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
