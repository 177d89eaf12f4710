"""What the provider of the running pair saw."""

import array
import json
import os
import urllib.request

import pytest
from running_pair import get


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
