"""The running pair and its provider, told by the environment.

VECTOLL_BASE_URL      the sidecar's proxy: http://localhost:PORT, without /v1
VECTOLL_ADMIN_URL     the sidecar's admin listener
VECTOLL_KEY           a key without limits
VECTOLL_LIMITED_KEY   a key with one request a minute
VECTOLL_SERIAL_KEY    a key with one call at a time
VECTOLL_PROVIDER_URL  the provider's checker: /account, /requests, /vectors
"""

import array
import json
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


class Provider:
    """What the provider saw during one test."""

    def __init__(self, url):
        self.url = url
        self.before = self.account()

    def account(self):
        return json.loads(get(self.url + "/account"))

    def charged(self):
        """Requests and tokens that were charged since the test began."""
        now = self.account()
        assert now["violations"] == []
        return tuple(now[count] - self.before[count] for count in ("charged_requests", "charged_tokens"))

    def last_body(self):
        """The last body that the provider was sent; nothing else of the caller may have come with it."""
        request = json.loads(get(self.url + "/requests"))[-1]
        for secret in (os.environ["VECTOLL_KEY"], os.environ["VECTOLL_LIMITED_KEY"]):
            assert secret not in json.dumps(request)
        return json.loads(request["body"])

    def vectors(self, texts, dimensions=1536):
        """The vectors that the provider computes, as bytes of 32-bit floats."""
        body = json.dumps({"model": "any", "input": texts, "dimensions": dimensions}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + "/vectors", body), timeout=10) as answer:
            return [floats(vector) for vector in json.loads(answer.read())["vectors"]]


def floats(vector):
    return array.array("f", vector).tobytes()


@pytest.fixture
def provider():
    return Provider(os.environ["VECTOLL_PROVIDER_URL"])
