"""A plugin that says what it was given, and who may call it."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab.conftest import Gateway

#: The fixture `run_gateway`.
RunGateway = Callable[..., Gateway]

ECHO = """#!/usr/bin/python3 -IS
import os, sys, time
here = os.path.dirname(sys.argv[0])
if sys.argv[1] == "list":
    print('{"echo":{"s":"","b":true,"i":7,"i8":8,"i64":64,"a":[],"t":{}},"size":{},"wait":{},"meet":{},"argv":{},"linger":{}}')
elif sys.argv[2] == "size":
    text = sys.stdin.buffer.read()
    print('{"bytes":%d,"newline":%s}' % (len(text), "true" if text.endswith(b"\\n") else "false"))
elif sys.argv[2] == "argv":
    print('{"count":%d,"verb":"%s"}' % (len(sys.argv), sys.argv[1]))
elif sys.argv[2] == "wait":
    time.sleep(1)
    print('{"waited":true}')
elif sys.argv[2] == "meet":
    open(f"{here}/../met-{os.getpid()}", "w").close()
    while sum(name.startswith("met-") for name in os.listdir(f"{here}/..")) < 8:
        time.sleep(0.05)
    print('{"met":true}')
elif sys.argv[2] == "linger":
    os.write(1, b'{"parent":true}')
    if os.fork() == 0:
        while not os.path.exists(f"{here}/../released"):
            time.sleep(0.05)
else:
    print('{"given":' + sys.stdin.read() + '}')
"""

ACL = {"lab": {"description": "all", "read": {"ubus": {"echo": ["*"], "canned": ["*"]}, "uci": ["dpi-dual"]}}}
