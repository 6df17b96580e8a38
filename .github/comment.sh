#!/usr/bin/env bash
# Judges gate.json again and writes one comment on the pull request of the commit HEAD. A fork wrote that
# file: nothing in it chooses the pull request or the decision, and its text stands in a fence.
set -euo pipefail
[ "$COMMENT" != never ] || exit 0
mark='<!-- vidcost gate -->'
status=0
said=$(vidcost gate replay gate.json --format md 2>&1) || status=$?
case $status in
  0) decision="Nothing regressed." ;;
  1) decision="**Regressed**: slower, or needs more memory, by more than the margin." ;;
  3) decision="**Could not judge**: not measured as planned, or too noisy." ;;
  *) decision="**No result**: gate.json cannot be read." ;;
esac
# all decisions and differences, none of which can end the fence
text=$(printf '%s' "$said" | sed 's/~~*/~/g' | head -c 50000)
printf '%s\n%s\n\n<details><summary>Differences</summary>\n\n~~~~\n%s\n~~~~\n\n</details>\n' \
  "$mark" "$decision" "$text" > comment.md
pull=$(gh api "repos/$GITHUB_REPOSITORY/commits/$HEAD/pulls" --jq '[.[] | select(.state == "open")][0].number // empty')
if [ -z "$pull" ]; then
  echo "no open pull request has the commit $HEAD"
  exit 0
fi
known=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$pull/comments" \
  --jq ".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$mark\"))) | .id" | head -n 1)
if [ -n "$known" ]; then
  gh api -X PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$known" -F body=@comment.md
elif [ "$COMMENT" = always ] || [ "$status" != 0 ]; then
  gh api "repos/$GITHUB_REPOSITORY/issues/$pull/comments" -F body=@comment.md
fi
