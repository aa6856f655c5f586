#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The alert rules are valid, and each fires for what it is about and not before.
# shellcheck disable=SC2154
set -uo pipefail

if ! command -v promtool >/dev/null; then
	echo '1..0 # SKIP no promtool'
	exit 0
fi
dir=$top_srcdir/contrib/prometheus
number=0

ok() {
	number=$((number + 1))
	[ "$1" -eq 0 ] && printf 'ok %d - %s\n' $number "$2" || printf 'not ok %d - %s\n' $number "$2"
}

echo 1..4
said=$(promtool check rules "$dir/nanoseg.rules.yml" 2>&1)
ok $? 'promtool finds the alert rules valid'
said+=$(promtool test rules "$dir/nanoseg.rules.test.yml" 2>&1)
ok $? 'each rule fires for what it is about'
sed 's/^/# /' <<<"$said"
untested=$(comm -23 <(sed -n 's/.*- alert: //p' "$dir/nanoseg.rules.yml" | sort -u) \
	<(sed -n 's/.*alertname: //p' "$dir/nanoseg.rules.test.yml" | sort -u))
[ -z "$untested" ]
ok $? "no rule is without a test $untested"
broken=$(mktemp -d) || exit 1
trap 'rm -rf "$broken"' EXIT
cp "$dir"/*.yml "$broken"
sed -i 's/for: 2m/for: 20m/' "$broken/nanoseg.rules.yml"
! promtool test rules "$broken/nanoseg.rules.test.yml" >/dev/null 2>&1
ok $? 'the tests see a rule that does not fire'
