"""The engine's side of HTTP posts: a batch for one address goes through a process of its own."""

from __future__ import annotations

import json

from dpi_dual.processes import own_program, run_process

#: For the whole batch.
PROCESS_TIMEOUT_S = 60.0


async def post_all(url: str, headers: dict[str, str], bodies: list[str], timeout_s: float) -> tuple[int, str]:
    """How many were taken, in order, and why not more; `timeout_s` is for each."""
    job = {"url": url, "headers": headers, "bodies": bodies, "timeout_s": timeout_s}
    complaint = b""
    try:
        _, out, complaint = await run_process(
            own_program("dpi_dual.http_post_process"), json.dumps(job).encode("ascii"), PROCESS_TIMEOUT_S
        )
        answer = json.loads(out)
        return int(answer["taken"]), str(answer["failure"])
    except TimeoutError:
        return 0, f"no answer within {PROCESS_TIMEOUT_S:.0f} s"
    except (OSError, ValueError, KeyError) as error:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return 0, last[:200] or str(error) or type(error).__name__
