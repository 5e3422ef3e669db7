#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# replay.sh FOLDER: runs every fuzz_<module> in FOLDER over each file of its corpus, one by one, so
# that a failing one is named. Ends in `replay: N inputs, K failed`; fails when an input does, when
# a target has no corpus or a corpus no target, and when nothing ran.

folder=${1:?replay.sh FOLDER}
corpora=$(dirname "$0")/corpus
inputs=0
failed=0
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT

fail() {
	failed=$((failed + 1))
	echo "$1"
}

for program in "$folder"/fuzz_*; do
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then
		continue
	fi
	module=$(basename "$program" | sed 's/^fuzz_//')
	count=0
	for input in "$corpora/$module"/*; do
		[ -f "$input" ] || continue
		count=$((count + 1))
		if ! "$program" "$input" >"$output" 2>&1; then
			cat "$output"
			fail "$module: failed on $input"
		fi
	done
	if [ "$count" -eq 0 ]; then
		fail "$module: has no corpus in $corpora/$module"
	fi
	printf '%-28s %3d inputs\n' "$module" "$count"
	inputs=$((inputs + count))
done

for corpus in "$corpora"/*/; do
	[ -d "$corpus" ] || continue
	module=$(basename "$corpus")
	if [ ! -x "$folder/fuzz_$module" ]; then
		fail "$module: a corpus without a target"
	fi
done

echo "replay: $inputs inputs, $failed failed"
[ "$failed" -eq 0 ] && [ "$inputs" -gt 0 ]
