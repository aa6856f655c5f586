# bash completion for nanoseg(1). Source it, or install it as
# /usr/share/bash-completion/completions/nanoseg.

# Where the daemon is, if the line so far says so.
_nanoseg_ask()
{
	local i socket=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket | -H | --host) socket=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}") ;;
		esac
	done
	nanoseg "${socket[@]}" --timeout 2 "$@" 2>/dev/null
}

# Words of letters that are safe in a shell, one on a line.
_nanoseg_safe()
{
	grep -E '^[A-Za-z0-9_./-]+$' | head -n 2000
}

_nanoseg_workloads()
{
	_nanoseg_ask status -o wide --no-headers | awk '{ print $1 }' | _nanoseg_safe
}

_nanoseg_ids()
{
	_nanoseg_ask edges -o wide | awk '$1 ~ /^e-/ { print $1 }' | _nanoseg_safe
	_nanoseg_ask denials -o wide | awk '$1 ~ /^d-/ { print $1 }' | _nanoseg_safe
}

_nanoseg()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= verb= i words
	local commands="status top graph edges flows denials alerts review approve deny mode policy explain doctor gate confirm rollback reload quarantine release verify simulate audit-log export exposure help learn completion"
	local global="--socket --host --timeout --output --no-headers --help --version"

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket | -H | --host | --timeout | -o | --output) ((i++)) ;;
		-*) ;;
		*)
			if [[ -z $command ]]; then
				command=${COMP_WORDS[i]}
			elif [[ -z $verb ]]; then
				verb=${COMP_WORDS[i]}
			fi
			;;
		esac
	done

	COMPREPLY=()
	case $prev in
	--socket | --runtime | --dir | --programs | --marker | --config | --data-root | --engine-socket | --hooks-dir | --base-spec | --pcap | --map | --from | --out | --manifest | --signature | --compare | --verification | --controls | --data-dir | --scan | --file | -f)
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	-o | --output)
		words="table wide json yaml"
		[[ $command != learn ]] || words+=" policy"
		[[ $command != graph ]] || words+=" dot mermaid html"
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
		return
		;;
	--state)
		COMPREPLY=($(compgen -W "pending approved denied" -- "$cur"))
		return
		;;
	--engine)
		COMPREPLY=($(compgen -W "docker podman containerd" -- "$cur"))
		return
		;;
	--kind)
		words="denial drift loss lateStart selfTest foreignOwner overdueReview unapprovedImage quarantine rollback"
		words+=" noisyNeighbour newPeer denialBurst scan newName spoofedSource"
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
		return
		;;
	--severity)
		words="critical error warning notice info"
		[[ $command != exposure ]] || words="critical high medium low"
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
		return
		;;
	--direction)
		COMPREPLY=($(compgen -W "ingress egress both" -- "$cur"))
		return
		;;
	--workload)
		COMPREPLY=($(compgen -W "$(_nanoseg_workloads)" -- "$cur"))
		return
		;;
	--image | --label | --project | --network | --reason | --ticket | --expires | --expect | --at | --confirm | --key | --head | --host | -H | --timeout | --wait)
		return
		;;
	esac

	case $command in
	'') words="$commands $global" ;;
	status) words="--watch --why $global" ;;
	graph) words="--watch $global" ;;
	edges) words="--state --workload --watch $global" ;;
	flows) words="--follow --watch $global" ;;
	denials) words="--follow --watch --attempts $global" ;;
	alerts) words="--kind --severity --workload --since --each --watch $global" ;;
	review)
		words="--all --label --project --network --reason --ticket --expires --from --stale --recertify $global"
		[[ $cur == -* ]] || words=$(_nanoseg_workloads)
		;;
	approve | deny)
		words="--image --reason --ticket --expires $global"
		[[ $cur == -* ]] || words=$(_nanoseg_ids)
		;;
	mode)
		words="--all --direction --confirm --reason --yes $global"
		[[ $cur == -* ]] || words="observe audit enforce --all $(_nanoseg_workloads)"
		;;
	policy)
		case $verb in
		'') words="show validate diff apply import $global" ;;
		show) words="--decided $global" ;;
		*)
			words="--expect --confirm --reason $global"
			[[ $verb != import ]] || words="--theirs --dry-run --reason $global"
			if [[ $cur != -* ]]; then
				COMPREPLY=($(compgen -f -- "$cur"))
				return
			fi
			;;
		esac
		;;
	explain)
		words="--at --dir $global"
		[[ $cur == -* ]] || words="host internet $(_nanoseg_workloads)"
		;;
	gate)
		words="--engine --wait --fail-open --runtime --force --dir --programs --marker --config"
		words+=" --data-root --engine-socket --hooks-dir --base-spec $global"
		[[ -n $verb ]] || words="install remove status"
		;;
	confirm | rollback) words="--reason $global" ;;
	quarantine | release)
		words="--reason --allow-from --released $global"
		[[ $cur == -* ]] || words=$(_nanoseg_workloads)
		;;
	verify) words="--plan --max $global" ;;
	audit-log)
		words="--since --until --event --actor --workload --last --head --key --dir $global"
		[[ -n $verb || $cur == -* ]] || words="show verify"
		;;
	exposure)
		words="--scan --file --severity --from $global"
		if [[ $cur != -* ]]; then
			COMPREPLY=($(compgen -f -- "$cur"))
			return
		fi
		;;
	export)
		words="--out --manifest --signature --from --compare --project --label --since --verification --controls --data-dir $global"
		[[ -n $verb || $cur == -* ]] || words="json csv html html-static oscal k8s cilium ocsf syslog graph dot mermaid access access-csv access-syslog"
		;;
	learn) words="--pcap --map --exact $global" ;;
	simulate) words="--file --since --pcap --map --all $global" ;;
	top) words="--rounds $global" ;;
	completion) words="bash zsh fish $global" ;;
	help) words=$commands ;;
	*) words=$global ;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _nanoseg nanoseg
