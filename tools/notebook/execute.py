"""Executes a notebook with the Deno kernel from start to end, and prints it with its outputs as JSON.

Usage: execute.py NOTEBOOK, in the folder that its cells shall run in. Fails with the words of the first cell that does.
This is jupyter_client alone, as the usual nbclient misses what Deno's kernel shows after it has said that it is idle.
"""

import json
import queue
import sys

from jupyter_client.manager import start_new_kernel

RESULTS = ("execute_result", "display_data")


def subscribe(client):
    """Returns when messages about outputs arrive: before, they may get lost."""
    for _ in range(100):
        client.kernel_info()
        try:
            return client.get_iopub_msg(timeout=0.5)
        except queue.Empty:
            pass
    raise RuntimeError("The kernel's outputs do not arrive")


def execute(client, source):
    """The outputs of a cell; raises if it fails."""
    asked, outputs, idle = client.execute(source), [], False
    while True:
        try:
            # What the cell's last value shows may come late; a cell that shows nothing waits in vain.
            message = client.get_iopub_msg(timeout=300 if not idle else 0.2 if outputs else 10)
        except queue.Empty:
            if idle:
                return outputs
            raise RuntimeError(f"This cell takes over five minutes:\n{source}") from None
        kind, content = message["msg_type"], message["content"]
        if message["parent_header"].get("msg_id") != asked:
            continue
        if kind == "error":
            raise RuntimeError(f"{content['ename']}: {content['evalue']}\nin the cell\n{source}")
        if kind == "status" and content["execution_state"] == "idle":
            idle = True
        elif kind in RESULTS:
            outputs.append({"output_type": kind, "data": content["data"]})


with open(sys.argv[1], encoding="utf-8") as file:
    notebook = json.load(file)
manager, client = start_new_kernel(kernel_name="deno", startup_timeout=120)
try:
    subscribe(client)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = execute(client, "".join(cell["source"]))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print(json.dumps(notebook))
