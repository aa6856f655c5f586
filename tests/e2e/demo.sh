#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The demonstration as a test: it must end as it promises, touch nothing that is not its own, and
# leave nothing, however it ends. Needs root, and an engine that runs or that it can start.
# shellcheck disable=SC2154,SC2317
set -uo pipefail

name=nanoseg-demo
quickstart=$top_srcdir/contrib/quickstart
bystander=nst$$-bystander
log=$(mktemp)
touched=$log.touched
host_tables=$log.tables
demo_pid=
number=0

# ok CODE NAME: a line of TAP.
ok() {
	number=$((number + 1))
	if [ "$1" -eq 0 ]; then
		printf 'ok %d - %s\n' $number "$2"
	else
		printf 'not ok %d - %s\n' $number "$2"
	fi
}

note() {
	sed 's/^/# /'
}

finish() {
	trap '' INT TERM HUP
	if [ -n "$demo_pid" ]; then
		kill -TERM "$demo_pid" 2>/dev/null
		wait "$demo_pid"
	fi
	ip netns del "$bystander" 2>/dev/null
	rm -f "$log" "$touched" "$host_tables"
}

start_demo() {
	: >"$log"
	# A shell's background processes ignore SIGINT.
	env --default-signal=INT "$quickstart" --build "$top_builddir" --demo </dev/null >"$log" 2>&1 &
	demo_pid=$!
}

# wait_demo SECONDS: its exit code; ended if it takes longer.
wait_demo() {
	local n code

	for ((n = 0; n < $1 * 5; n++)); do
		kill -0 "$demo_pid" 2>/dev/null || break
		touched_bystander && echo "a table in the bystander's namespace" >>"$touched"
		sleep 0.2
	done
	if [ "$n" -ge $(($1 * 5)) ]; then
		echo "# still running after $1 s"
		kill -TERM "$demo_pid"
	fi
	wait "$demo_pid"
	code=$?
	demo_pid=
	return $code
}

# wait_line TEXT SECONDS: until the demonstration says it.
wait_line() {
	local n

	for ((n = 0; n < $2 * 5; n++)); do
		grep -q "$1" "$log" && return 0
		kill -0 "$demo_pid" 2>/dev/null || return 1
		sleep 0.2
	done
	return 1
}

touched_bystander() {
	ip netns exec "$bystander" nft list tables 2>/dev/null | grep -q nanoseg
}

# Processes that run what was built here, or the demonstration's own scripts.
processes_left() {
	local p exe

	for p in /proc/[0-9]*; do
		exe=$(readlink "$p/exe" 2>/dev/null) || continue
		case $exe in
		"$top_builddir"/daemon/*) echo "process ${p#/proc/} $exe" ;;
		esac
		if tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q "$top_srcdir/contrib/demo/\|/demo/app.py"; then
			echo "process ${p#/proc/} $(tr '\0' ' ' <"$p/cmdline")"
		fi
	done 2>/dev/null
}

# Everything of the demonstration that is there now, a line each.
left_behind() {
	{
		docker ps -a --filter "name=$name" --format 'container {{.Names}}'
		docker network ls --filter "name=$name" --format 'network {{.Name}}'
		docker images --format 'image {{.Repository}}' "$name"
	} 2>/dev/null
	ip netns list | awk -v n="$name" 'index($1, n) == 1 { print "namespace " $1 }'
	ip -o link | awk -F': ' '$2 ~ /^nsdemo/ { print "link " $2 }'
	find /var/tmp -maxdepth 1 -name "$name-*" -printf 'folder %p\n'
	nft list tables 2>/dev/null | sed -n '/nanoseg/s/^/host: /p' | grep -vxFf "$host_tables"
	processes_left
}

leaves_nothing() {
	local left

	left=$(left_behind)
	[ -z "$left" ] && return 0
	note <<<"left behind: $left"
	return 1
}

if [ "$(id -u)" -ne 0 ]; then
	echo "1..0 # SKIP needs root"
	exit 0
fi
trap finish EXIT
trap 'exit 130' INT TERM HUP
nft list tables 2>/dev/null | sed -n '/nanoseg/s/^/host: /p' >"$host_tables"
echo "1..7"
left=$(left_behind)
if [ -n "$left" ]; then
	echo "Bail out! Another demonstration runs, or left this: $left"
	exit 1
fi
ip netns add "$bystander"

start_demo
wait_demo 300
code=$?
ok $code "the demonstration ends as it promises"
[ $code -eq 0 ] || tail -n 60 "$log" | note
leaves_nothing
ok $? "it leaves nothing"
[ ! -e "$touched" ]
ok $? "a namespace beside it is never touched"

start_demo
wait_line "then segmentation happens" 120 && sleep 5
kill -INT "$demo_pid"
wait_demo 60
code=$?
[ $code -eq 130 ] || echo "# ended with $code"
ok $((code != 130)) "SIGINT while it observes ends it"
leaves_nothing
ok $? "and leaves nothing"

start_demo
wait_line "Starting nginx" 60 && sleep 2
kill -TERM "$demo_pid"
wait_demo 60
code=$?
ok $((code == 0)) "SIGTERM while containers start ends it"
leaves_nothing
ok $? "and leaves nothing"
