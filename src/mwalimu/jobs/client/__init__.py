"""Who speaks to the service from outside.

    with Client.connect() as client:
        job = client.submit(submission)
        for told in client.stream(job.name):
            print(told)

`AsyncClient` has the same verbs; both are made of `requests.py`.
"""

from mwalimu.jobs.client.asynchronous import AsyncClient
from mwalimu.jobs.client.blocking import Client

__all__ = ["AsyncClient", "Client"]
