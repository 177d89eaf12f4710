"""The running pair and its provider, as in ../python, for LiteLLM's own package: it is a client here.

VECTOLL_BASE_URL      the sidecar's proxy: http://localhost:PORT, without /v1
VECTOLL_ADMIN_URL     the sidecar's admin listener
VECTOLL_KEY           a key without limits
VECTOLL_LIMITED_KEY   a key with one request a minute
VECTOLL_PROVIDER_URL  the provider's checker: /requests
"""

import json
import os
import urllib.request

import pytest

# LiteLLM would otherwise fetch its table of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


@pytest.fixture
def base_url():
    return os.environ["VECTOLL_BASE_URL"]


@pytest.fixture
def key():
    return os.environ["VECTOLL_KEY"]


@pytest.fixture
def limited_key():
    return os.environ["VECTOLL_LIMITED_KEY"]


@pytest.fixture
def metric():
    """metric(name, label="value") is the sum of the samples that have these labels."""

    def total(name, **labels):
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = get(os.environ["VECTOLL_ADMIN_URL"] + "/metrics").decode().splitlines()
        samples = [line for line in lines if line.startswith(name + "{") and all(label in line for label in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)

    return total


@pytest.fixture
def last_body():
    """The last body that the provider was sent."""

    def body():
        return json.loads(json.loads(get(os.environ["VECTOLL_PROVIDER_URL"] + "/requests"))[-1]["body"])

    return body
