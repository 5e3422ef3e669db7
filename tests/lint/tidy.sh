#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# clang-tidy over the files named, two at a time; .clang-tidy says which checks, and why not others.
set -u
cd "$(dirname "$0")/../.." || exit 1
jobs=$(nproc)

one() {
	case $1 in
	# The analyzer believes that toml++ walks through empty tables.
	*.cpp) standard=c++17 checks=-clang-analyzer-core.* ;;
	*) standard=gnu17 checks= ;;
	esac
	# shellcheck disable=SC2086
	output=$(clang-tidy --quiet --checks="$checks" "$1" -- -std=$standard $CPPFLAGS -Itests \
		-DGATEPOST_VERSION='"lint"' 2>&1) || {
		echo "$output" | grep -a -E ': (error|warning|fatal error): ' || echo "$output"
		return 1
	}
}

if [ "${1:-}" = --one ]; then
	one "$2"
	exit
fi
printf '%s\n' "$@" | xargs -P"$jobs" -n1 "$0" --one
