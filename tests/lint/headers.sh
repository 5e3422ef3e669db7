#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Every header compiles alone, twice in a row.
set -u
cd "$(dirname "$0")/../.." || exit 1
failed=0
for header in include/*/*.h proxy/*/*_internal.h; do
	[ -e "$header" ] || continue
	case $header in
	include/*) name=${header#include/} ;;
	*) name=../$header ;;
	esac
	# shellcheck disable=SC2086
	printf '#include "%s"\n#include "%s"\nint after;\n' "$name" "$name" |
		gcc -std=gnu17 -Wall -Wextra -Werror -fsyntax-only $CPPFLAGS \
			"-I$(dirname "$header")" -x c - || {
		echo "$header: does not compile alone"
		failed=1
	}
done
exit "$failed"
