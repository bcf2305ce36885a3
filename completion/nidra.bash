# SPDX-License-Identifier: Apache-2.0
# bash completion for nidra: verbs, names of machines, flags, files.

_nidra_names() {
	nidra list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_nidra() {
	local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]-} words=
	local verbs="run create list top info console logs pause unpause disk-resize suspend resume checkpoint save restore fork shutdown
		reboot destroy mem-set vcpu-set timeline image check help version"
	local key="--key-file --key-keyring --passphrase --passphrase-file"
	local make="--disk --nic --publish --share --name --kernel --initrd --cmdline --memory --vcpus --maxvcpus --domid --transport --on-poweroff
		--on-reboot --on-crash --on-watchdog --paused --console --json --print-stats"

	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
		return
	fi
	case $verb in
	run | create) words=$make ;;
	suspend) words="--timeout --json --print-stats" ;;
	resume) words="--uncooperative --json --print-stats" ;;
	save) words="--checkpoint --paused --force --timeout --compress --json --print-stats --leave-out --no-disks --encrypt-metadata $key" ;;
	checkpoint) words="--incremental --full --every --keep --uncooperative --force --timeout --compress --json --print-stats --leave-out --no-disks --encrypt-metadata $key" ;;
	restore) words="--disk --disks --share --nic --name --uuid --domid --memory --paused --transparent --eager --console --json --print-stats $key" ;;
	fork) words="--number --name --timeout --json --print-stats $key" ;;
	logs) words="--follow --monitor" ;;
	console) words="--from-start --send" ;;
	timeline) words="--svg --last --json" ;;
	list | info | check) words="--json" ;;
	top) words="--delay --number" ;;
	image) words="info verify compact export rm --json --cascade --elf-core --output $key" ;;
	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$words" -- "$cur"))
		return
	fi
	case $verb in
	run | create | restore) COMPREPLY=($(compgen -f -- "$cur")) ;;
	image) COMPREPLY=($(compgen -W "info verify" -- "$cur") $(compgen -f -- "$cur")) ;;
	list | check | help | version) COMPREPLY=() ;;
	*)
		if [ "$COMP_CWORD" = 2 ]; then
			COMPREPLY=($(compgen -W "$(_nidra_names)" -- "$cur"))
		else
			COMPREPLY=($(compgen -f -- "$cur"))
		fi
		;;
	esac
}

complete -o filenames -F _nidra nidra
