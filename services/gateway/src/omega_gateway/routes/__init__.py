"""The public routes, a module for each noun."""

from fastapi import APIRouter

from omega_gateway.routes import blobs, frames, models, objects, runtime, tasks, users

ROUTERS: tuple[APIRouter, ...] = (
    objects.router,
    blobs.router,
    frames.router,
    models.router,
    tasks.router,
    runtime.router,
    users.router,
)
