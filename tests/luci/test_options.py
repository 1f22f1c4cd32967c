"""The Settings page has every option of the schema, with its type, default and range."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dpi_dual.correlation.policy import FACTORS
from dpi_dual.schema import luci
from dpi_dual.schema.values import FORMATS, BadValueError, parse, schema

RESOURCES = Path(__file__).resolve().parents[2] / "luci-app-dpi-dual/htdocs/luci-static/resources"
PAGE = (RESOURCES / "view/dpi-dual/settings.js").read_text()
OPTIONS = {
    f"{section}.{option}": entry
    for section, spec in schema().items()
    if section != "secrets"
    for option, entry in spec.get("items", spec)["properties"].items()
}


def test_the_table_of_options_is_what_the_schema_gives() -> None:
    assert (RESOURCES / "dpi-dual/options.js").read_text() == luci.document(), "make generate"


def test_every_option_has_a_title_and_every_choice_its_label() -> None:
    for name, entry in OPTIONS.items():
        assert entry["title"], name
        assert list(entry.get("labels", {})) == entry.get("enum", []), name


def _constant(name: str) -> str:
    found = re.search(rf"^const {name} = (.*?);$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def test_every_section_has_its_tab() -> None:
    tabs = re.findall(r"_\('[^']+'\), \[ ([^\]]*) \]", _constant("TABS"))
    assert sorted(re.findall(r"'(\w+)'", " ".join(tabs))) == sorted(set(schema()) - {"secrets"})


def test_interfaces_are_chosen_from_those_there_are() -> None:
    named = {name for name, entry in OPTIONS.items() if entry.get("items", entry).get("format") == "interface"}
    assert set(re.findall(r"'([\w.]+)'", _constant("INTERFACES"))) == named


@pytest.mark.parametrize("table", ["SHOWN_WITH", "NEEDED", "AGREES"])
def test_what_the_page_adds_is_about_options_that_exist(table: str) -> None:
    text = _constant(table)
    names = set(re.findall(r"'(\w+\.\w+)'", text))
    assert names <= set(OPTIONS)
    for name, others in re.findall(r"'(\w+\.\w+)': \{ (\w+): \[", text):
        assert f"{name.split('.')[0]}.{others}" in OPTIONS
    for name, other in re.findall(r"'(\w+\.\w+)': \{\s+after: '(\w+)'", text):
        assert f"{name.split('.')[0]}.{other}" in OPTIONS


def test_sensitivities_weigh_on_the_page_as_in_the_engine() -> None:
    shown = {name: float(factor) for name, factor in re.findall(r"(\w+): ([0-9.]+)", _constant("FACTORS"))}
    assert shown == FACTORS
    labels = OPTIONS["correlation.sensitivity"]["labels"]
    assert all(f"×{factor:g})" in labels[name] for name, factor in FACTORS.items())


TEXTS = [
    *"""
fe80::1%eth0/64|a|0|1|-1|+5|1.5|443|:443|:0|:65536|0.0.0.0:1|[::]:80|host:8088|::1:80|[1]:80|a:b|[::1:80|::1
::|1::|::1::|1:2:3:4:5:6:7:8|1:2:3:4:5:6:7::|1:2:3:4:5:6:7:8:9|::ffff:192.0.2.1|::192.0.2.1:1|192.0.2.1::
12345::|g::|fe80::1%eth0|fe80::%|2001:db8::/32|2001:db8::/129|192.0.2.1|192.0.2.01|256.0.0.1|1.2.3|1.2.3.4.5
192.0.2.9/24|192.0.2.1/33|192.0.2.1/|192.0.2.1/24/1|192.0.2.1/-1|1|127.0.0.1:8088|1.2.3:80|router|a.example
a.example.|-a|a-|a_b|a..b|.a|*.a|*.example.org|*|*.*.org|a.*|a b|a/b|é|x.é|example.org:80|example.org:http|nas
http://nas|http://|https://nas:443|http://[::1]:8|http://[::1]:9/|ftp://nas:1|http://a|https://a.b:8/x?y
http://a b|http://u@h/|http://a:0|http://a#f|http://[1]/|https://|http://192.0.2.1|http://192.0.2
http://a:80:80|https://example.org/%20x|HTTP://a|/|/a|/a/b|//tmp|/tmp|/tmp/|/tmp/.|/tmp/./../x|/tmp/../etc
/../x|/a/..|/a..b|/tmp//|/tmp/x|/etc|/etc/config|/etc/config/x|/etc//config/x|/etc/./config/x|/etc/configx
/etc/dpi-dual|/etc/dpi-dualx/y
/etc/init.d/x|/etc/crontabs/root|/root/.ssh/x|/www/x|/rootx/y|/overlay/upper/etc/x
/etc/dpi-dual/state|/proc/1|/sys/x|/dev/sda|/usr/lib|/usrlocal/x|/lib64/x|/mnt/usb|/a?b|/a b
eth0|br-lan|pppoe-wan|eth0.2|wan@x|.|..|a:1|abcdefghijklmno|abcdefghijklmnop|lan/1|0s|1s|h|4h|4 h|30m|1h30m
30m1h|7d|4w|365d|366d|31536000|31536001|3600|9999999999h|999999999d|-1h|1h30|942100|X-Frame-Options|a,b|a;b
!#$%&*+.^_|~|a(b)|a/b|a/+|#|a+b|any thing|<b>|'|"|`|x\ty
""".strip("\n")
    .replace("\n", "|")
    .split("|"),
    "",
    *("x" * length for length in (128, 129, 1024, 1025)),
    "a" * 64,
    ".".join(["a" * 63] * 4),
    ".".join(["a" * 62] * 4),
    "a\x1bb",
    "a\nb",
    "\x7f",
    " a",
    "a ",
]

RUN = """
const read = file => require('fs').readFileSync(file, 'utf8');
const load = (file, ...given) => new Function('baseclass', 'options', '_', read(file))(...given);
const baseclass = { extend: what => what };
const options = load(process.argv[1], baseclass, {}, text => text);
const formats = load(process.argv[2], baseclass, options, text => text);
const [ names, texts ] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const taken = names.flatMap(name => texts.filter(text => formats.accepts(name, text)).map(text => [ name, text ]));
console.log(JSON.stringify(taken));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node to run formats.js with")
def test_the_page_takes_the_texts_that_the_engine_takes() -> None:
    texts = list(dict.fromkeys(TEXTS))
    wanted = [[name, text] for name in FORMATS for text in texts if takes(name, text)]
    command = ["node", "-e", RUN, str(RESOURCES / "dpi-dual/options.js"), str(RESOURCES / "dpi-dual/formats.js")]
    given = json.dumps([list(FORMATS), texts])
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == wanted


def takes(form: str, text: str) -> bool:
    try:
        parse(text, {"type": "string", "format": form})
    except BadValueError:
        return False
    return True
