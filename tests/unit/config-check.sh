#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# nanosegd --check takes a good configuration in silence, and names the place of what is wrong with
# another; neither needs root.
# shellcheck disable=SC2154
set -uo pipefail

number=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# expect STATUS TEXT NAME FILE
expect() {
	local said status bad=

	said=$("$top_builddir/daemon/nanosegd" --check --config "$4" 2>&1)
	status=$?
	[ "$status" -eq "$1" ] || bad=1
	if [ -n "$2" ]; then
		[[ $said == *"$2"* ]] || bad=1
	else
		[ -z "$said" ] || bad=1
	fi
	number=$((number + 1))
	printf '%sok %d - %s\n' "${bad:+not }" "$number" "$3"
	[ -z "$bad" ] || printf '# status %d: %s\n' "$status" "$said"
}

printf '' >"$dir/empty"
printf 'promote: off\nobservationPeriod: 0s\n' >"$dir/range"
printf 'promot: off\n' >"$dir/key"
expect 0 '' 'the configuration that explains every key is valid' "$top_srcdir/contrib/nanosegd.yaml"
expect 0 '' 'an empty configuration is valid' "$dir/empty"
expect 2 'line 2, column 20' 'a value out of range is refused with its place' "$dir/range"
expect 2 "did you mean 'promote'" 'an unknown key is refused' "$dir/key"
expect 2 'not a regular file' 'a folder is no configuration' "$dir"
expect 2 'No such file' 'a file that was asked for has to be there' "$dir/none"
echo "1..$number"
