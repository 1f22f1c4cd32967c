#!/bin/sh
# Installs the tree that a router gets under $DESTDIR (empty: this machine), and says what it did.
#
#   DESTDIR=/tmp/x ./install.sh         a staged tree
#   BYTECODE_ONLY=1 ./install.sh        compiled Python only, as the OpenWrt packages ship it
#   PYTHON=/path/to/python3             the interpreter to compile for (the one that will run it)
#   PACKAGE=luci-app-dpi-dual           what that package holds only; so with secubox-dpi-dual
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

say "Installing ${PACKAGE:-everything} under ${destdir:-/}"

# put_tree SOURCE TARGET: every file below, as it lies.
put_tree() {
    find "$1" -type f | LC_ALL=C sort | while read -r file; do
        put 644 "$file" "$2/${file#"$1"/}"
    done
    say "  $2/"
}

install_library() {
    say "Library:"
    # Afresh, so that no module of an older version stays importable.
    rm -rf "$lib/dpi_dual"
    find lib/dpi_dual -name __pycache__ -prune -o -type d -print | while read -r folder; do
        mkdir -p "$lib/${folder#lib/}"
        find "$folder" -maxdepth 1 -type f \( -name '*.py' -o -name '*.json' \) -exec cp -t "$lib/${folder#lib/}" {} +
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
}

install_service() {
    install_library
    put_all 755 "$lib" lib/*.sh
    say "Programs:"
    put_all 755 "$destdir/usr/sbin" sbin/*
    put_all 755 "$destdir/usr/libexec/rpcd" rpcd/*
    put_all 755 "$destdir/www/cgi-bin" www/cgi-bin/*
    put_all 755 "$destdir/etc/init.d" init.d/*
    put_all 755 "$destdir/etc/uci-defaults" uci-defaults/*
    put_all 644 "$destdir/etc/capabilities" openwrt/capabilities/*.json
    put_all 644 "$destdir/lib/upgrade/keep.d" openwrt/keep.d/*
    put_all 644 "$destdir/srv/mitmproxy/addons" addons/*.py
    say "Configuration:"
    put_config 644 config/dpi-dual "$destdir/etc/config/dpi-dual"
    put_config 600 config/dpi-dual-secrets "$destdir/etc/config/dpi-dual-secrets"
    # As it is shipped, for uci-defaults to fill in from what an older one lacks.
    put_all 644 "$destdir/usr/share/dpi-dual" config/dpi-dual
}

install_luci() {
    say "LuCI:"
    put_tree luci-app-dpi-dual/htdocs "$destdir/www"
    put_tree luci-app-dpi-dual/root "$destdir"
}

# install_translation LANGUAGE: as LuCI's own build compiles and names it.
install_translation() {
    i18n=$destdir/usr/lib/lua/luci/i18n
    mkdir -p "$i18n"
    "$python" -m openwrt.lmo "luci-app-dpi-dual/po/$1/dpi-dual.po" "$i18n/dpi-dual.$1.lmo.new.$$"
    chmod 644 "$i18n/dpi-dual.$1.lmo.new.$$"
    mv -f "$i18n/dpi-dual.$1.lmo.new.$$" "$i18n/dpi-dual.$1.lmo"
    say "  $i18n/dpi-dual.$1.lmo"
}

case ${PACKAGE:-all} in
secubox-dpi-dual) install_service ;;
luci-app-dpi-dual) install_luci ;;
luci-i18n-dpi-dual-*) install_translation "${PACKAGE#luci-i18n-dpi-dual-}" ;;
all)
    install_service
    install_luci
    for language in luci-app-dpi-dual/po/*/dpi-dual.po; do
        install_translation "$(basename "$(dirname "$language")")"
    done
    ;;
*)
    echo "install.sh: PACKAGE is secubox-dpi-dual, luci-app-dpi-dual or luci-i18n-dpi-dual-LANGUAGE" >&2
    exit 1
    ;;
esac
