#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The documents speak of what is there: every file they name exists, every command and option of
# README.md is known to the programs.
# shellcheck disable=SC2154
set -uo pipefail

number=0

ok() {
	number=$((number + 1))
	[ "$1" -eq 0 ] && printf 'ok %d - %s\n' $number "$2" || printf 'not ok %d - %s\n' $number "$2"
}

# Names with a folder of ours in front, and links between documents.
files_of() {
	{
		grep -oE '\b(rules|netlink|daemon|cli|tests|contrib|docs)/[A-Za-z0-9_./-]*[A-Za-z0-9]' "$1"
		grep -oE '\]\([^):#]+\)' "$1" | tr -d ']()'
	} | grep -vE 'NAME|MODULE' | sort -u
}

check_files() {
	local f bad=0

	[ -n "$(files_of "$1")" ] || bad=1
	while read -r f; do
		if [ ! -e "$top_srcdir/$f" ]; then
			echo "# $1 names $f"
			bad=1
		fi
	done < <(files_of "$1")
	return $bad
}

# In the lines of README.md's code blocks that start with the program's name.
commands_of() {
	awk '/^```/ { code = !code; next } code' "$top_srcdir/README.md" |
		sed -n "s/^\(sudo \)\?$1 //p" | sed 's/   .*//'
}

# check_program NAME FILE: FILE's --help knows each command and option.
check_program() {
	local line word bad=0 help

	while read -r line; do
		if [ "$1" = nanoseg ]; then
			help=$("$2" "${line%% *}" --help 2>&1) || {
				echo "# $1 has no command ${line%% *}"
				bad=1
				continue
			}
		else
			help=$("$2" --help 2>&1)
		fi
		for word in $line; do
			case $word in
			--*) grep -qF -- "$word" <<<"$help" || {
				echo "# $1 ${line%% *} has no option $word"
				bad=1
			} ;;
			esac
		done
	done < <(commands_of "$1")
	return $bad
}

echo 1..5
cd "$top_srcdir" || exit 1
check_files README.md
ok $? "every file of README.md exists"
check_files docs/ARCHITECTURE.md
ok $? "every file of docs/ARCHITECTURE.md exists"
[ "$(commands_of nanoseg | wc -l)" -ge 10 ]
ok $? "README.md shows commands"
check_program nanoseg "$top_builddir/cli/nanoseg"
ok $? "nanoseg knows the commands of README.md"
check_program nanosegd "$top_builddir/daemon/nanosegd"
ok $? "nanosegd knows the options of README.md"
