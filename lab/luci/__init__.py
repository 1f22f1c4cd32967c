"""Our own small runtime of LuCI's documented client API: what the gateway serves so that the pages run off OpenWrt.

`resources/` has a file for each module of LuCI that our pages use, `theme/` one style sheet, `menu.d/` the menu that
LuCI itself would bring. A page that works here is meant to work in LuCI, and one that is careless with markup is
careless here too.
"""
