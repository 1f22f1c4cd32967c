# On OpenWrt's build system, which sets TOPDIR: the recipe of secubox-dpi-dual. On any other Linux: see `make help`.

ifdef TOPDIR

# A feed finds the recipe as openwrt/secubox-dpi-dual/Makefile, which includes this one.
DPI_DUAL_ROOT:=$(dir $(abspath $(lastword $(MAKEFILE_LIST))))

include $(TOPDIR)/rules.mk

PKG_NAME:=secubox-dpi-dual
PKG_VERSION:=0.1.0
PKG_RELEASE:=1
PKG_MAINTAINER:=SecuBox Team <secubox@gk2.net>
PKG_LICENSE:=GPL-3.0-only
PKG_LICENSE_FILES:=LICENSE
PKG_BUILD_DEPENDS:=python3/host

include $(INCLUDE_DIR)/package.mk

define Package/secubox-dpi-dual
  SECTION:=net
  CATEGORY:=Network
  TITLE:=Dual-stream deep packet inspection
  DEPENDS:= \
	+python3-light \
	+python3-asyncio \
	+python3-codecs \
	+python3-decimal \
	+python3-logging \
	+python3-multiprocessing \
	+python3-openssl \
	+python3-sqlite3 \
	+python3-urllib \
	+python3-jsonschema \
	+python3-pyroute2 \
	+python3-ubus \
	+netifyd \
	+kmod-sched-core \
	+kmod-dummy \
	+kmod-nf-conntrack-netlink
  PKGARCH:=all
endef

define Package/secubox-dpi-dual/description
  Inspects requests to the services published behind the router (HAProxy and mitmproxy), classifies a copy of the WAN
  traffic and the flows of the LAN (netifyd), joins what they saw about an address, and follows and feeds CrowdSec.
endef

define Package/secubox-dpi-dual/conffiles
/etc/config/dpi-dual
/etc/config/dpi-dual-secrets
endef

define Build/Compile
endef

# The tree that `make install` lays out, with bytecode of the release's own Python.
define Package/secubox-dpi-dual/install
	DESTDIR=$(1) PACKAGE=secubox-dpi-dual BYTECODE_ONLY=1 PYTHON=$(STAGING_DIR_HOSTPKG)/bin/python3 \
		$(DPI_DUAL_ROOT)install.sh
endef

# rpcd lists its plugins when it starts.
define Package/secubox-dpi-dual/postinst
#!/bin/sh
[ -n "$${IPKG_INSTROOT}" ] || /etc/init.d/rpcd reload
exit 0
endef

define Package/secubox-dpi-dual/prerm
#!/bin/sh
[ -z "$${IPKG_INSTROOT}" ] && [ "$${PKG_UPGRADE}" != 1 ] || exit 0
/usr/lib/dpi-dual/netifyd-setup.sh undo
uci -q del_list uhttpd.main.alias='/api/dpi=/cgi-bin/dpi-dual' && uci commit uhttpd && /etc/init.d/uhttpd reload
exit 0
endef

# opkg leaves the directories.
define Package/secubox-dpi-dual/postrm
#!/bin/sh
[ -z "$${IPKG_INSTROOT}" ] && [ "$${PKG_UPGRADE}" != 1 ] || exit 0
for directory in $$(find /usr/lib/dpi-dual /usr/share/dpi-dual -type d 2>/dev/null | sort -r); do
	rmdir "$$directory" 2>/dev/null
done
/etc/init.d/rpcd reload
exit 0
endef

# Two blanks: `scripts/feeds` must not take the feed's own directory for a package.
$(eval $(call  BuildPackage,secubox-dpi-dual))

else

PYTHON  ?= /usr/bin/python3
PY      := .venv/bin/python
DESTDIR ?=

.PHONY: help run test lint generate bench soak fuzz panel install package clean

help:
	@echo 'make run                     a router in network namespaces, analysing real traffic, until Ctrl-C'
	@echo 'make run DURATION=30 REPORT=report.json   the same, stops by itself and writes what happened'
	@echo 'make test                    unit, property and integration tests (as root: all of them)'
	@echo 'make test ARGS="-k mirror"   some of them'
	@echo 'make lint                    ruff and mypy'
	@echo 'make generate                what is made from the schemas: tables, pages of docs/, translations'
	@echo 'make bench [ROW=ingest]      measurements against their baselines, bench/results.json; CURVES=1: how it scales'
	@echo 'make soak [MINUTES=20] [SEED=N]   traffic, attacks and a fault every 20 s; nothing may be lost'
	@echo 'make fuzz [SECONDS=60] [TARGET=netifyd]   parsers of wire text, guided by coverage where atheris can be had'
	@echo 'make panel                   the Streamlit panel; DPI_PANEL_URL= is the router'"'"'s address'
	@echo 'make install DESTDIR=/tmp/x  the tree that a router gets'
	@echo 'make package [PYTHON=python3.11]  both packages as .ipk for that Python, and the wheel; in dist/'

run:
	@PYTHON=$(PYTHON) lab/bootstrap lab
	@exec $(PY) -m lab run $(if $(DURATION),--duration $(DURATION)) $(if $(REPORT),--report $(REPORT))

test:
	@PYTHON=$(PYTHON) lab/bootstrap lab test
	@$(PY) -m pytest $(ARGS)

lint:
	@PYTHON=$(PYTHON) lab/bootstrap
	@$(PY) -m ruff check --no-cache .
	@$(PY) -m ruff format --no-cache --check .
	@$(PY) -m mypy

generate:
	@PYTHON=$(PYTHON) lab/bootstrap
	@$(PY) -m lab.generate

bench:
	@PYTHON=$(PYTHON) lab/bootstrap lab
	@$(PY) -m bench $(if $(CURVES),--curves,$(if $(ROW),--row $(ROW))) $(if $(RECORD),--record)

soak:
	@PYTHON=$(PYTHON) lab/bootstrap lab test
	@$(PY) -m lab.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

# atheris has builds for some Pythons only; without it the same inputs are tried unguided.
fuzz:
	@PYTHON=$(PYTHON) lab/bootstrap lab
	-@$(PY) -c 'import atheris' 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check 'atheris>=2.3'
	@PYTHONPATH=lib:. $(PY) -m tests.fuzz $(TARGET) $(if $(SECONDS),--seconds $(SECONDS))

panel:
	@PYTHON=$(PYTHON) lab/bootstrap
	@exec $(PY) -m streamlit run panels/streamlit/app.py --browser.gatherUsageStats=false

install:
	@DESTDIR='$(DESTDIR)' ./install.sh

package:
	@$(PYTHON) -m openwrt --python $(PYTHON)

clean:
	rm -rf .venv .lab build dist bench/results.json .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

endif
