"""Somebody is told that a job has ended: by a signed request, at least once, and nowhere else.

`outbox` says what is to be told and what was; `target` where a request may go; `signing` how its
receiver knows it; `sender` sends it.
"""
