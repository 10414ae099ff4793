"""A FastAPI application that learns while it answers: starts it, teaches it over HTTP, asks it, and stops it.

The application is `embedding/fastapi_application.py`; ``uvicorn fastapi_application:app`` in that folder serves it.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import httpx
import uvicorn

sys.path.insert(0, str(Path(__file__).parent / "embedding"))
from fastapi_application import app


def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        dark, bright = bytes(144 * 8), bytes([200]) * 144 * 8
        for label, body in (("dark", dark), ("bright", bright)):
            client.post(f"/observe/{label}", content=body).raise_for_status()
        client.post("/learn", params={"steps": 40}).raise_for_status()
        labels = client.post("/predict", content=dark + bright).json()["labels"]
    server.should_exit = True
    thread.join()
    print(f"{labels.count('dark')} dark and {labels.count('bright')} bright")


if __name__ == "__main__":
    main()
