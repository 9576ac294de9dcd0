"""The contracts of the mesh: names, objects, frames, tasks, scopes, events, errors and typed messages.

Only data and pure functions live here: pydantic models and decisions, no input or output. Every other package
imports this one; this one imports none of them.
"""
