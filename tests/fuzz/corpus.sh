#!/bin/bash
# Replays every seed corpus through its fuzz target.
cd "${top_builddir:-.}/tests/fuzz" || exit 99
seeds=${top_srcdir:-../..}/tests/fuzz
count=0
plan=()
for corpus in "$seeds"/corpus-*/; do
	name=$(basename "$corpus")
	plan+=("${name#corpus-}")
done
echo "1..${#plan[@]}"
for name in "${plan[@]}"; do
	count=$((count + 1))
	if [ ! -x "./replay-$name" ]; then
		echo "not ok $count - $name: no target replay-$name"
	elif out=$("./replay-$name" "$seeds/corpus-$name" 2>&1); then
		echo "ok $count - $name: ${out##*: }"
	else
		printf '%s\n' "$out" | sed 's/^/# /'
		echo "not ok $count - $name"
	fi
done
