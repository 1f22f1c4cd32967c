#!/bin/sh
# Installs the tree that a router gets under $DESTDIR (empty: this machine), and says what it did.
#
#   DESTDIR=/tmp/x ./install.sh         a staged tree
#   BYTECODE_ONLY=1 ./install.sh        compiled Python only, as the OpenWrt packages ship it
#   PYTHON=/path/to/python3             the interpreter to compile for (the one that will run it)
#
# It may be run again: files are replaced, the owner's configuration is kept.
set -eu
umask 022

destdir=${DESTDIR:-}
destdir=${destdir%/}
case $destdir in '' | /*) ;; *) destdir=$PWD/$destdir ;; esac
cd "$(dirname "$0")"
python=${PYTHON:-/usr/bin/python3}
command -v "$python" >/dev/null 2>&1 || {
    echo "install.sh: there is no $python; name one with PYTHON=" >&2
    exit 1
}
lib=$destdir/usr/lib/dpi-dual

say() { printf '%s\n' "$*"; }

# put MODE SOURCE TARGET: a whole file or none, whatever was there before.
put() {
    mkdir -p "$(dirname "$3")"
    cp "$2" "$3.new.$$"
    chmod "$1" "$3.new.$$"
    mv -f "$3.new.$$" "$3"
}

# put_all MODE TARGET_DIRECTORY SOURCE...: those of the sources that this tree has.
put_all() {
    mode=$1
    target=$2
    shift 2
    for source in "$@"; do
        [ -f "$source" ] || continue
        put "$mode" "$source" "$target/$(basename "$source")"
        say "  $target/$(basename "$source")"
    done
}

# put_config MODE SOURCE TARGET: never over what the owner has; the new defaults stand beside it.
put_config() {
    [ -f "$2" ] || return 0
    if [ ! -e "$3" ]; then
        put "$1" "$2" "$3"
        say "  $3"
    elif cmp -s "$2" "$3"; then
        say "  $3 (unchanged)"
    else
        put "$1" "$2" "$3.new"
        say "  $3 kept as it is; the new defaults are in $3.new"
    fi
}

say "Installing under ${destdir:-/}"

say "Library:"
# Afresh, so that no module of an older version stays importable.
rm -rf "$lib/dpi_dual"
find lib/dpi_dual -type f \( -name '*.py' -o -name '*.json' \) | LC_ALL=C sort | while read -r file; do
    put 644 "$file" "$lib/${file#lib/}"
done
# Unchecked hashes: the same bytes from every build, and no look at the source at each start.
if [ "${BYTECODE_ONLY:-0}" = 1 ]; then
    "$python" -m compileall -q -f -b --invalidation-mode unchecked-hash -s "$destdir" -p / "$lib/dpi_dual"
    find "$lib/dpi_dual" -name '*.py' -exec rm -f {} +
    say "  $lib/dpi_dual (bytecode for $("$python" -V) only)"
else
    "$python" -m compileall -q -f --invalidation-mode unchecked-hash -s "$destdir" -p / "$lib/dpi_dual"
    say "  $lib/dpi_dual (sources, and bytecode for $("$python" -V))"
fi
find "$lib/dpi_dual" -type d -exec chmod 755 {} +
find "$lib/dpi_dual" -type f -exec chmod 644 {} +
put_all 755 "$lib" lib/mirror-setup.sh

say "Programs:"
put_all 755 "$destdir/usr/sbin" sbin/*
put_all 755 "$destdir/usr/libexec/rpcd" rpcd/*
put_all 755 "$destdir/etc/init.d" init.d/*
put_all 755 "$destdir/etc/uci-defaults" uci-defaults/*
put_all 644 "$destdir/srv/mitmproxy/addons" addons/*.py
put_all 644 "$destdir/usr/share/rpcd/acl.d" acl.d/*.json luci-app-dpi-dual/root/usr/share/rpcd/acl.d/*.json

say "Configuration:"
put_config 644 config/dpi-dual "$destdir/etc/config/dpi-dual"
put_config 600 config/dpi-dual-secrets "$destdir/etc/config/dpi-dual-secrets"
