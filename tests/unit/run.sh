#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh TEST...: runs every cmocka program, shows its totals and what failed, and ends in one line
# `unit: N tests in M programs, K failed`. Fails when a test fails, a program dies, or nothing ran.

tests=0
programs=0
failed=0
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT

for program in "$@"; do
	programs=$((programs + 1))
	"$program" >"$output" 2>&1
	status=$?
	ran=$(sed -n 's/^\[==========\] .*: \([0-9]*\) test(s) run\.$/\1/p
		s/^\[==========\] \([0-9]*\) test(s) run\.$/\1/p' "$output" |
		awk '{ sum += $1 } END { print sum + 0 }')
	broken=$(sed -n 's/^ *\([0-9]*\) FAILED TEST(S)$/\1/p' "$output" |
		awk '{ sum += $1 } END { print sum + 0 }')
	skipped=$(sed -n 's/^ *\([0-9]*\) SKIPPED TEST(S)$/\1/p' "$output" |
		awk '{ sum += $1 } END { print sum + 0 }')
	if [ "$status" -ne 0 ] && [ "$broken" -eq 0 ]; then
		broken=1
		echo "$(basename "$program"): ended with status $status" >>"$output"
	elif [ "$ran" -eq 0 ]; then
		broken=1
		echo "$(basename "$program"): ran no test" >>"$output"
	fi
	if [ "$broken" -gt 0 ]; then
		grep -v -e '^\[ RUN ' -e '^\[       OK' "$output"
	fi
	printf '%-28s %3d tests, %d failed' "$(basename "$program")" "$ran" "$broken"
	if [ "$skipped" -gt 0 ]; then
		printf ', %d skipped' "$skipped"
	fi
	printf '\n'
	tests=$((tests + ran))
	failed=$((failed + broken))
done

echo "unit: $tests tests in $programs programs, $failed failed"
[ "$failed" -eq 0 ] && [ "$programs" -gt 0 ]
