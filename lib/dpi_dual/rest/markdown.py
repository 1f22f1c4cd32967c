"""Makes `docs/rest.md` from the OpenAPI document; `make generate` writes it."""

from __future__ import annotations

from dpi_dual.rest.errors import REASONS
from dpi_dual.rest.openapi import document
from dpi_dual.rest.throttle import TRIES, WINDOW_S
from dpi_dual.rpc.markdown import parameter_line

HEAD = f"""\
# HTTP API

<!-- made from the routes and lib/dpi_dual/schema/ubus.json by `make generate`; do not edit -->

For what cannot speak ubus. uhttpd runs one small program, `/www/cgi-bin/dpi-dual`, which answers below
`/cgi-bin/dpi-dual`, and below `/api/dpi` by an alias of uhttpd that the package sets when it is installed
(`uhttpd.main.alias`, a list entry `/api/dpi=/cgi-bin/dpi-dual`).

    curl -u root https://192.168.1.1/api/dpi/status
    curl -H "Authorization: Bearer $SESSION" 'https://192.168.1.1/api/dpi/tap/flows?limit=5&state=live'
    curl -u root -X POST https://192.168.1.1/api/dpi/replay/198.51.100.7

`$SESSION` is the `ubus_rpc_session` of rpcd: `ubus call session login` or a login over `/ubus` gives one. A name and
password make a session for one request. Either may do what rpcd's access rights give it, method by method: a login
that may only read is refused the replay. {TRIES} tries with a password in {WINDOW_S:.0f} s from one address (or IPv6
/64) are taken, a right one begins the count anew. No page of another site is answered: there are no CORS headers, and
a request with a foreign `Origin` is refused. The package needs `python3-ubus` for the rights.

The document for machines is [openapi.json](openapi.json), and `/api/dpi/openapi.json` on the router. Errors are
`{{"error": "what is wrong", "code": "for_programs"}}` with one of the statuses below. What the answers mean is told
with the [ubus methods](ubus.md).
"""


def page() -> str:
    """The page's whole text."""
    whole = document()
    parts = [HEAD]
    for path, verbs in whole["paths"].items():
        for verb, operation in verbs.items():
            parts.append(f"## {verb.upper()} {path}\n")
            target = f" ({operation['description']})" if "description" in operation else ""
            parts.append(f"{operation['summary'][:1].upper()}{operation['summary'][1:]}{target}.\n")
            rows = [
                parameter_line(entry["description"], entry["schema"], entry["name"], entry["in"])
                for entry in operation.get("parameters", ())
            ]
            body = operation.get("requestBody", {}).get("content", {})
            for content in body.values():
                fields = content["schema"]["properties"]
                rows += [parameter_line(rule["description"], rule, name, "body") for name, rule in fields.items()]
            if rows:
                parts += [*rows, ""]
    parts.append("## Statuses\n")
    for status, reason in REASONS.items():
        name = reason.replace(" ", "")
        told = whole["components"]["responses"].get(name, {}).get("description")
        if told:
            parts.append(f"- {status} {reason}: {told}")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(page(), end="")
