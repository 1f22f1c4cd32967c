#!/bin/sh
# Makes OpenWrt's netifyd 4 capture what DPI Dual-Stream watches, and takes that back.
# Usage: netifyd-setup.sh apply|undo
#
# Only what its owner left at the default is changed, and each change is logged. UCI `netifyd` gets `internal_if`
# entries in place of the automatic choice; `dpi_dual_if` in its section remembers which are ours. netifyd.conf gets
# a block of ours at its end.
# shellcheck shell=ash

CONF=${NETIFYD_CONF:-/etc/netifyd.conf}
INIT=${NETIFYD_INIT:-/etc/init.d/netifyd}
BEGIN='# dpi-dual: begin (removed with the package)'
END='# dpi-dual: end'

SECTION='netifyd.@netifyd[0]'
changed=

say() { logger -s -t dpi-dual -p daemon.notice "netifyd: $*"; }

get() { uci -q get "$1"; }

# enabled OPTION DEFAULT: whether a switch is on.
enabled() {
	case $(get "$1" || echo "$2") in 1 | on | yes | true | enabled) return 0 ;; *) return 1 ;; esac
}

# What netifyd should capture: the streams that run and have no socket of their own to somewhere else.
wanted() {
	enabled dpi-dual.settings.enabled 1 || return 0
	if [ "$(get dpi-dual.settings.mode)" != mitm-only ] && enabled dpi-dual.tap.enabled 1 && [ -z "$(get dpi-dual.tap.netifyd_socket)" ]; then
		get dpi-dual.tap.interface || echo tap0
	fi
	if enabled dpi-dual.lan.enabled 1 && [ -z "$(get dpi-dual.lan.netifyd_socket)" ]; then
		get dpi-dual.lan.interface || echo br-lan
	fi
}

apply_uci() {
	local want ours have interface
	get "$SECTION" >/dev/null || return 0
	# What is no interface's name is left out: it would become an argument of netifyd.
	# (OpenWrt's tr knows no [:space:]: it would take the letters out of the names.)
	want=$(wanted | tr ' ' '\n' | grep -E '^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$' | xargs)
	ours=$(get "$SECTION.dpi_dual_if")
	have="$(get "$SECTION.internal_if") $(get "$SECTION.external_if")"
	[ "$want" != "$ours" ] || return 0
	if [ -n "$(uci -q changes netifyd)" ]; then
		say "somebody is changing UCI netifyd and has not committed it; it is left alone until then"
		return 0
	fi
	if [ -z "$ours" ] && { [ "$have" != ' ' ] || ! enabled "$SECTION.autoconfig" 1; }; then
		# Somebody chose the interfaces: they stay as they are.
		for interface in $want; do
			case " $have " in
			*" $interface "*) ;;
			*) say "its interfaces were chosen by hand; for DPI Dual-Stream add: list internal_if '$interface'" ;;
			esac
		done
		return 0
	fi
	forget_ours "$ours"
	for interface in $want; do
		uci add_list "$SECTION.internal_if=$interface"
		uci add_list "$SECTION.dpi_dual_if=$interface"
	done
	if [ -n "$want" ]; then
		uci set "$SECTION.autoconfig=0"
		say "captures $want from now on, in place of ${ours:-its automatic choice}"
	else
		say "captures $ours no longer"
	fi
	uci commit netifyd
	changed=1
}

# forget_ours INTERFACES: the entries that we made go; with none left, netifyd chooses for itself again.
forget_ours() {
	local interface
	for interface in $1; do
		uci -q del_list "$SECTION.internal_if=$interface"
	done
	uci -q delete "$SECTION.dpi_dual_if"
	if [ -z "$(get "$SECTION.internal_if")$(get "$SECTION.external_if")" ]; then
		uci set "$SECTION.autoconfig=1"
	fi
}

# option_is_set SECTION OPTION: whether netifyd.conf has it, outside our block.
option_is_set() {
	sed "/^$BEGIN/,/^$END/d" "$CONF" | awk -v section="[$1]" -v option="$2" '
		{ line = $0; gsub(/[ \t\r]/, "", line) }
		line ~ /^\[/ { here = line }
		here == section && index(line, option "=") == 1 { found = 1 }
		END { exit !found }'
}

# block: what netifyd.conf lacks of what we want of it, as sections of their own.
block() {
	local entry section option
	# No updates over the internet, no caches written to flash. And flows of a protocol that netifyd does not know are to
	# be told like all others: without that it gives their bytes, but never says whose they are.
	for entry in netify_api:enable_updates=no flow_hash_cache:save=volatile dns_hint_cache:save=volatile \
		socket:dump_unknown_flows=yes; do
		section=${entry%%:*}
		option=${entry#*:}
		option_is_set "$section" "${option%%=*}" || printf '\n[%s]\n%s\n' "$section" "${option%%=*} = ${option#*=}"
	done
}

apply_conf() {
	local wanted
	[ -f "$CONF" ] || return 0
	wanted=$(block)
	[ -z "$wanted" ] || wanted="$BEGIN
${wanted#?}
$END"
	[ "$wanted" != "$(sed -n "/^$BEGIN/,/^$END/p" "$CONF")" ] || return 0
	sed -i "/^$BEGIN/,/^$END/d" "$CONF"
	[ -z "$wanted" ] || echo "$wanted" >>"$CONF"
	say "no updates over the internet, no caches on flash, flows of unknown protocols too ($CONF, where its owner said nothing)"
	changed=1
}

undo() {
	local ours
	ours=$(get "$SECTION.dpi_dual_if")
	if [ -n "$ours" ]; then
		forget_ours "$ours"
		uci commit netifyd
		say "captures $ours no longer; what was changed in UCI netifyd is taken back"
		changed=1
	fi
	if [ -f "$CONF" ] && grep -q "^$BEGIN" "$CONF"; then
		sed -i "/^$BEGIN/,/^$END/d" "$CONF"
		say "$CONF is as it was"
		changed=1
	fi
}

case ${1:-} in
apply)
	apply_uci
	apply_conf
	;;
undo) undo ;;
*)
	echo "usage: netifyd-setup.sh apply|undo" >&2
	exit 2
	;;
esac

# A netifyd that runs takes new interfaces with a new start only; one that was stopped stays so.
if [ -n "$changed" ] && [ -x "$INIT" ] && "$INIT" running; then
	"$INIT" restart
fi
exit 0
