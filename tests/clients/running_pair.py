"""The running pair and its provider, told by the environment: a plugin of pytest for all clients in Python.

VECTOLL_BASE_URL      the sidecar's proxy: http://localhost:PORT, without /v1
VECTOLL_ADMIN_URL     the sidecar's admin listener
VECTOLL_KEY           a key without limits
VECTOLL_LIMITED_KEY   a key with one request a minute
VECTOLL_SERIAL_KEY    a key with one call at a time
VECTOLL_PROVIDER_URL  the provider's checker: /account, /requests, /vectors
"""

import os
import urllib.request

import pytest


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


@pytest.fixture(scope="session")
def base_url():
    return os.environ["VECTOLL_BASE_URL"]


@pytest.fixture(scope="session")
def key():
    return os.environ["VECTOLL_KEY"]


@pytest.fixture(scope="session")
def limited_key():
    return os.environ["VECTOLL_LIMITED_KEY"]


@pytest.fixture(scope="session")
def serial_key():
    return os.environ["VECTOLL_SERIAL_KEY"]


@pytest.fixture
def metric():
    """metric(name, label="value") is the sum of the samples that have these labels."""

    def total(name, **labels):
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = get(os.environ["VECTOLL_ADMIN_URL"] + "/metrics").decode().splitlines()
        samples = [line for line in lines if line.startswith(name + "{") and all(label in line for label in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)

    return total
