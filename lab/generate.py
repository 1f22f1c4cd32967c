"""`make generate`: writes again all that is made from the schemas, the routes and the pages' texts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from dpi_dual.rest import markdown as rest_page
from dpi_dual.rest import openapi
from dpi_dual.rpc import markdown as ubus_page
from dpi_dual.schema import luci
from dpi_dual.schema import markdown as configuration_page
from lab import pot
from lab.record import ROOT
from openwrt import validation

OPTIONS = "luci-app-dpi-dual/htdocs/luci-static/resources/dpi-dual/options.js"


def documents() -> dict[str, str]:
    """What each file is to hold; the translations come after, as the options' titles are among their texts."""
    return {
        "init.d/dpi-dual": validation.written(validation.SCRIPT.read_text()),
        OPTIONS: luci.document(),
        "docs/configuration.md": configuration_page.document(),
        "docs/ubus.md": ubus_page.document(),
        "docs/rest.md": rest_page.page(),
        "docs/openapi.json": json.dumps(openapi.document(), indent=2, ensure_ascii=False) + "\n",
    }


def main() -> int:
    """Names each file that has changed; 1 when a text is left to translate."""
    for name, text in documents().items():
        file = ROOT / name
        if file.read_text() != text:
            file.write_text(text)
            print(name)
    return pot.main()


if __name__ == "__main__":
    sys.exit(main())
