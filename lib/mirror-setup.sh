#!/bin/sh
# The WAN mirror by hand: a wrapper of `dpi-dualctl mirror`, under the name that other scripts know.
# Usage: mirror-setup.sh start|stop|restart|status [--json]; exit codes as in `dpi-dualctl --help`.

# Installed as <root>/usr/lib/dpi-dual/mirror-setup.sh; in a checkout it stands in lib/, beside sbin/.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 4
ctl=${DPI_DUALCTL:-}
for place in "$here/../../sbin/dpi-dualctl" "$here/../sbin/dpi-dualctl"; do
    [ -n "$ctl" ] || { [ -x "$place" ] && ctl=$place; }
done
if [ -z "$ctl" ]; then
    echo "mirror-setup.sh: dpi-dualctl is not where it belongs, beside $here" >&2
    exit 4
fi

usage='usage: mirror-setup.sh start|stop|restart|status [--json]'
action=${1:-}
[ $# -gt 0 ] && shift
case $action in
start | stop | status) exec "$ctl" mirror "$action" "$@" ;;
restart)
    "$ctl" mirror stop >/dev/null || exit $?
    exec "$ctl" mirror start "$@"
    ;;
-h | --help) echo "$usage" ;;
--version) exec "$ctl" --version ;;
*)
    echo "$usage" >&2
    exit 2
    ;;
esac
