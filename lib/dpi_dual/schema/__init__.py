"""The contracts as data: `uci.json` (configuration) and `ubus.json` (methods), with what reads them."""
