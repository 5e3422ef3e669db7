#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh FOLDER SECONDS: fuzzes with every fuzz_<module> in FOLDER for that long, as many at a time
# as there are processors. What is found while fuzzing stays in FOLDER/found/<module>/ and
# FOLDER/crash/; tests/fuzz/corpus is read, not written. Ends in `fuzz: N targets, K failed`.

folder=${1:?run.sh FOLDER SECONDS}
seconds=${2:?run.sh FOLDER SECONDS}
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "$folder" && pwd) || exit 1

# fuzz_one MODULE: leaves FOLDER/log/MODULE, and FOLDER/failed/MODULE where it failed.
fuzz_one() {
	module=$1
	set -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix="$folder/crash/$module-"
	if [ -f "$here/$module.dict" ]; then
		set -- "$@" -dict="$here/$module.dict"
	fi
	mkdir -p "$folder/found/$module"
	set -- "$@" "$folder/found/$module"
	if [ -d "$here/corpus/$module" ]; then
		set -- "$@" "$here/corpus/$module"
	fi
	if ! "$folder/fuzz_$module" "$@" >"$folder/log/$module" 2>&1; then
		: >"$folder/failed/$module"
	fi
}

rm -rf "$folder/failed"
mkdir -p "$folder/log" "$folder/crash" "$folder/failed"
targets=0
running=0
processors=$(nproc)

for program in "$folder"/fuzz_*; do
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then
		continue
	fi
	targets=$((targets + 1))
	fuzz_one "$(basename "$program" | sed 's/^fuzz_//')" &
	running=$((running + 1))
	if [ "$running" -ge "$processors" ]; then
		wait
		running=0
	fi
done
wait

failed=0
for log in "$folder"/log/*; do
	[ -f "$log" ] || continue
	module=$(basename "$log")
	[ -x "$folder/fuzz_$module" ] || continue
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	printf '%-20s %12s runs' "$module" "${runs:-0}"
	if [ -e "$folder/failed/$module" ]; then
		failed=$((failed + 1))
		echo "  FAILED"
		tail -n 40 "$log"
	else
		echo
	fi
done

echo "fuzz: $targets targets, $failed failed"
[ "$failed" -eq 0 ] && [ "$targets" -gt 0 ]
