#!/bin/sh
# Run by OpenWrt's package CI on the target after installation: $1 is the package, $2 its version.

[ "$1" = secubox-dpi-dual ] || exit 0

for program in dpi-dualctl dpi-duald dpi-flow-collector dpi-lan-collector dpi-correlator; do
	"$program" --version | grep -qF "$program ${2%-r*}" || {
		echo "$program --version does not say ${2%-r*}"
		exit 1
	}
done

for object in dpi dpi.status dpi.lan dpi.correlator luci.dpi-dual; do
	"/usr/libexec/rpcd/$object" list | grep -q '^{.*}' || {
		echo "the rpcd plugin $object lists no methods"
		exit 1
	}
done

# Every module is there and loads with the packages that this one depends on; the MITM side needs mitmproxy.
python3 - <<'PYTHON'
import importlib, pathlib, sys
sys.path.insert(0, "/usr/lib/dpi-dual")
import dpi_dual
root = pathlib.Path(list(dpi_dual.__path__)[0])
for path in sorted(root.rglob("*.pyc")):
    name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
    if not name.startswith("dpi_dual.mitm."):
        importlib.import_module(name)
PYTHON
