"""A FastAPI application that holds a Learner: ``uvicorn fastapi_application:app``, with one worker process.

`edgecl serve` does this and what a device needs besides; this is for an application that is there already.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from fastapi import FastAPI, HTTPException, Request

from edgecl import BadInput, Learner

SHAPE = (1, 12, 12)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The learner is made in the process that serves: before a fork would be too early."""
    folder = os.environ.get("EDGECL_FOLDER", "embedded")
    app.state.learner = Learner("mlp", input_shape=SHAPE, classes=2, batch=8, store=f"{folder}/store")
    yield
    await asyncio.to_thread(app.state.learner.close)


app = FastAPI(lifespan=lifespan)


async def samples(request: Request) -> np.ndarray:
    body = await request.body()
    if not body or len(body) % np.prod(SHAPE):
        raise HTTPException(422, "no whole number of samples")
    return np.frombuffer(body, np.uint8).reshape(-1, *SHAPE)


@app.post("/observe/{label}")
async def observe(label: str, request: Request) -> dict[str, list[int]]:
    ticket = await asyncio.to_thread(app.state.learner.observe, await samples(request), label)
    await asyncio.to_thread(ticket.wait)
    return {"ids": ticket.ids.tolist()}


@app.post("/learn")
async def learn(steps: int = 20) -> dict[str, int]:
    return {"steps": (await asyncio.to_thread(app.state.learner.learn, steps=steps)).steps}


@app.post("/predict")
async def predict(request: Request) -> dict[str, list[str]]:
    x = await samples(request)
    try:
        return {"labels": await asyncio.to_thread(app.state.learner.predict, x)}
    except BadInput as error:
        raise HTTPException(422, str(error)) from error
