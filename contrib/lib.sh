# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034,SC2154
#
# What contrib/quickstart and contrib/check share: who runs this, which packages which purpose needs,
# and how they are installed. To be sourced, with "top" set to the source tree.
#
# Installing changes nothing but what was asked for: apt's own simulation is read first, nothing is
# removed, no engine is upgraded, no service is started now or at the next boot, and no database
# cluster is made. What that takes is undone by lib_restore, which the caller runs on every exit.

lib_program=${0##*/}

# A package, or alternatives joined by "|": the first is installed unless any is.
packages_build=(gcc libc6-dev make autoconf automake "pkgconf|pkg-config" libmnl-dev libnftnl-dev
	libjansson-dev libyaml-dev libpcap-dev libevent-dev
	libmicrohttpd-dev "libcurl4-openssl-dev|libcurl4-gnutls-dev|libcurl4-nss-dev" libsqlite3-dev
	nettle-dev libseccomp-dev libcap-ng-dev)
packages_test=(fish zsh graphviz libcmocka-dev clang libclang-rt-dev clang-format cppcheck git nftables iproute2
	iputils-ping conntrack tcpdump tshark jq procps python3 python3-prometheus-client prometheus rsyslog openssl
	util-linux podman slirp4netns uidmap runc openssh-client openssh-server dpkg-dev systemd tidy curl mandoc groff-base
	python3-jsonschema python3-regex python3-yaml "npm|nodejs" chromium "chromium-driver|chromium-chromedriver")
packages_demo=(iptables iproute2 procps "nginx-light|nginx-core|nginx-full|nginx-extras"
	postgresql python3 python3-psycopg2)

engine_packages='docker\.io|docker-ce|docker-ce-cli|docker-cli|moby-[a-z0-9-]*|containerd|containerd\.io'
engine_packages+='|podman|cri-o|cri-o-[0-9.]*|runc|crun|k3s|kubelet'

policy_rc=/usr/sbin/policy-rc.d
cluster_dir=/etc/postgresql-common/createcluster.d
cluster_conf=$cluster_dir/nanoseg-no-cluster.conf
our_mark='# Made by nanoseg while it installs packages; may be removed.'

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "$lib_program" "$*" >&2
	exit 1
}

usage_error() {
	printf '%s: %s\nTry "%s --help".\n' "$lib_program" "$*" "$0" >&2
	exit 2
}

need_root() {
	[ "$(id -u)" -eq 0 ] || die "this needs root: sudo $0${1:+ $1}"
}

is_installed() {
	local state

	state=$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) || return 1
	[[ $state == installed* ]]
}

# missing_packages SPEC...: prints the packages to install, one a line.
missing_packages() {
	local spec name have

	for spec in "$@"; do
		have=no
		for name in ${spec//|/ }; do
			if is_installed "$name"; then
				have=yes
				break
			fi
		done
		[ "$have" = yes ] || printf '%s\n' "${spec%%|*}"
	done | sort -u
}

# The engine's packages, unless there is one already, from wherever.
docker_packages() {
	# A client alone is none, unless it has one to talk to.
	if command -v dockerd >/dev/null || timeout 10 docker info >/dev/null 2>&1; then
		return
	fi
	printf 'docker.io\n'
	# Where the client is a package of its own, docker.io only recommends it.
	if apt-cache show docker-cli >/dev/null 2>&1; then
		printf 'docker-cli\n'
	fi
}

# refuse_simulation OUTPUT: ends with a sentence if apt would take something away.
refuse_simulation() {
	local removed upgraded

	removed=$(awk '$1 == "Remv" { printf "%s%s", sep, $2; sep = ", " }' <<<"$1")
	upgraded=$(awk -v engines="^($engine_packages)\$" \
		'$1 == "Inst" && $2 ~ engines && $3 ~ /^\[/ { printf "%s%s", sep, $2; sep = ", " }' <<<"$1")
	if [ -n "$removed" ]; then
		die "apt would remove $removed to install what is missing. Nothing was changed." \
			"Install the packages by hand in the way that suits this machine:" "${@:2}"
	fi
	if [ -n "$upgraded" ]; then
		die "apt would upgrade the container engine ($upgraded) to install what is missing, and" \
			"with that restart containers. Nothing was changed. Upgrade it yourself, then run" \
			"this again."
	fi
}

lib_restore() {
	if [ -f "$policy_rc" ] && grep -qxF "$our_mark" "$policy_rc"; then
		rm -f "$policy_rc"
	fi
	if [ -f "$cluster_conf" ]; then
		rm -f "$cluster_conf"
		rmdir --ignore-fail-on-non-empty "$cluster_dir" "${cluster_dir%/*}" 2>/dev/null || true
	fi
}

hold_services_back() {
	if [ ! -e "$policy_rc" ]; then
		printf '#!/bin/sh\n%s\nexit 101\n' "$our_mark" >"$policy_rc"
		chmod 755 "$policy_rc"
	fi
	mkdir -p "$cluster_dir"
	printf '%s\ncreate_main_cluster = false\n' "$our_mark" >"$cluster_conf"
}

# A package that was just installed may have enabled its service for the next boot.
disable_new_services() {
	local package

	command -v systemctl >/dev/null || return 0
	for package in "$@"; do
		case $package in
		podman)
			systemctl --quiet --no-reload disable podman.socket podman.service \
				podman-auto-update.timer podman-restart.service
			;;
		openssh-server) systemctl --quiet --no-reload disable ssh.service ssh.socket ;;
		nginx*) systemctl --quiet --no-reload disable nginx.service ;;
		prometheus | rsyslog) systemctl --quiet --no-reload disable "$package.service" ;;
		postgresql) systemctl --quiet --no-reload disable postgresql.service ;;
		docker.io)
			systemctl --quiet --no-reload disable docker.service docker.socket \
				containerd.service
			;;
		esac >/dev/null 2>&1 || true
	done
}

apt_quiet() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1 \
		APT_LISTCHANGES_FRONTEND=none apt-get -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

# install_packages SPEC...: installs what is missing, or ends with a sentence.
install_packages() {
	local missing simulation log

	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		say "Without apt nothing is installed here; needed are, by Debian's names:"
		say "  $*"
		return 0
	fi
	lib_restore
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0

	say "Installing: ${missing[*]}"
	if ! simulation=$(apt_quiet install -s -y --no-install-recommends "${missing[@]}" 2>&1); then
		apt_quiet update -q >/dev/null || say "apt-get update failed; going on with what is known."
		simulation=$(apt_quiet install -s -y --no-install-recommends "${missing[@]}" 2>&1) ||
			die "apt cannot install ${missing[*]}: $(grep '^E:' <<<"$simulation" | head -3)"
	fi
	refuse_simulation "$simulation" "${missing[*]}"

	log=$(mktemp)
	hold_services_back
	if ! apt_quiet install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
		# Lists that are too old name files that are gone.
		apt_quiet update -q >>"$log" 2>&1 || true
		if ! apt_quiet install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
			lib_restore
			tail -n 15 "$log" >&2
			rm -f "$log"
			die "apt could not install ${missing[*]}"
		fi
	fi
	rm -f "$log"
	disable_new_services "${missing[@]}"
	lib_restore
}

# as_owner COMMAND...: as the owner of the source tree, so that a build leaves no file of root there.
as_owner() {
	local uid gid

	uid=$(stat -c %u "$top")
	gid=$(stat -c %g "$top")
	if [ "$uid" -eq 0 ] || [ "$(id -u)" -ne 0 ]; then
		"$@"
	else
		HOME=/nonexistent setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
	fi
}

# configure_once DIR ARGUMENT...: makes ./configure if there is none, and DIR's Makefile.
configure_once() {
	local dir=$1

	shift
	if [ ! -x "$top/configure" ]; then
		(cd "$top" && as_owner ./autogen.sh) || return 1
	fi
	as_owner mkdir -p "$dir" || return 1
	if [ ! -f "$dir/Makefile" ]; then
		(cd "$dir" && as_owner "$top/configure" "$@") || return 1
	fi
}
