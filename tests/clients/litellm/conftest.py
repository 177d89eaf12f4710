"""For LiteLLM's own package: it is a client here."""

import json
import os

import pytest
from running_pair import get

# LiteLLM would otherwise fetch its table of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


@pytest.fixture
def last_body():
    """The last body that the provider was sent."""

    def body():
        return json.loads(json.loads(get(os.environ["VECTOLL_PROVIDER_URL"] + "/requests"))[-1]["body"])

    return body
