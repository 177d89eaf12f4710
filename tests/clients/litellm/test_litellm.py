"""LiteLLM's package as a caller: the provider litellm_proxy of its SDK, and its client of the management API."""

import hashlib

import litellm
import pytest
import requests
from litellm.proxy.client import Client

MODEL = "litellm_proxy/text-embedding-3-small"


def embed(base_url, key, **more):
    arguments = {"input": "The quick brown fox", "num_retries": 0, **more}
    return litellm.embedding(model=MODEL, api_base=f"{base_url}/v1", api_key=key, **arguments)


def test_a_call_is_attributed_as_with_litellms_proxy(base_url, key, metric, last_body):
    def spent(tag):
        return metric("vectoll_key_tag_spend_usd_total", key="default/alice", tag=tag)

    before = spent("nightly"), spent("eval")
    response = embed(
        base_url,
        key,
        user="litellm-user",
        extra_body={"metadata": {"job": 7, "tags": ["nightly"]}},
        extra_headers={"x-litellm-spend-logs-metadata": '{"project": "p"}'},
    )
    assert response.usage.prompt_tokens == 4
    assert set(last_body()) <= {"model", "input", "user", "encoding_format"}
    embed(base_url, key, extra_headers={"x-litellm-tags": "eval", "x-litellm-customer-id": "litellm-customer"})
    assert (spent("nightly") - before[0], spent("eval") - before[1]) == pytest.approx((0.00000008, 0.00000008))
    for user in ["litellm-user", "litellm-customer"]:
        assert metric("vectoll_user_requests_total", user=user) == 1


def test_what_is_too_long_is_the_error_that_its_callers_catch(base_url, key):
    long = "word" + " word" * 8192
    with pytest.raises(litellm.ContextWindowExceededError):
        embed(base_url, key, input=[long])
    cut = embed(base_url, key, input=[long], extra_headers={"x-vectoll-truncate": "end"})
    assert cut.usage.prompt_tokens == 8192


def test_its_client_reads_what_a_key_may_know_of_itself(base_url, limited_key):
    found = Client(base_url=base_url, api_key=limited_key).keys.info(limited_key)
    assert found["key"] == hashlib.sha256(limited_key.encode()).hexdigest()
    assert (found["info"]["key_alias"], found["info"]["rpm_limit"]) == ("default/limited", 1)


def test_its_client_is_told_where_keys_are_made(base_url, key):
    with pytest.raises(requests.HTTPError) as caught:
        Client(base_url=base_url, api_key=key).keys.generate(models=["text-embedding-3-small"])
    assert caught.value.response.status_code == 404
    assert "kubectl apply" in caught.value.response.json()["error"]["message"]
