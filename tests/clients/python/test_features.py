"""What else the official client can do: Azure's class, asynchronous calls, raw responses, and waiting as it is told."""

import asyncio
import base64
import hashlib
import json
import time
import urllib.request

import openai
import pytest
from conftest import floats

MODEL = "text-embedding-3-small"
TEXTS = ["First document", "Second document"]


def same(response, provider, texts=TEXTS):
    return [floats(item.embedding) for item in response.data] == provider.vectors(texts)


def test_azure(base_url, key, provider):
    azure = openai.AzureOpenAI(azure_endpoint=base_url, api_key=key, api_version="2024-10-21", max_retries=0)
    assert same(azure.embeddings.create(model=MODEL, input=TEXTS), provider)
    assert provider.last_body()["model"] == MODEL
    deployed = openai.AzureOpenAI(
        azure_endpoint=base_url, azure_deployment=MODEL, api_key=key, api_version="2024-10-21", max_retries=0
    )
    assert same(deployed.embeddings.create(model="whatever", input=TEXTS), provider)
    assert provider.last_body()["model"] == MODEL, "the deployment counts"
    # Azure's class asks for the models elsewhere than OpenAI's.
    assert MODEL in [model.id for model in azure.models.list()]
    assert azure.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.AuthenticationError):
        azure.with_options(api_key="sk-wrong").embeddings.create(model=MODEL, input="a")


def test_an_empty_string_alone_is_an_input(base_url, key):
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    response = client.embeddings.create(model=MODEL, input="")
    assert [len(item.embedding) for item in response.data] == [1536]


def test_azure_without_deployments(base_url, key, provider):
    client = openai.OpenAI(base_url=f"{base_url}/openai/v1/", api_key=key, max_retries=0)
    assert same(client.embeddings.create(model=MODEL, input=TEXTS), provider)
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def test_async_in_both_encodings(base_url, key, provider):
    async def all_at_once():
        async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0) as client:
            calls = [
                client.embeddings.create(model=MODEL, input=TEXTS, encoding_format=encoding)
                for encoding in ["float", "base64"] * 8
            ]
            return await asyncio.gather(*calls)

    for number, response in enumerate(asyncio.run(all_at_once())):
        if number % 2:
            vectors = [base64.b64decode(item.embedding) for item in response.data]
            assert vectors == provider.vectors(TEXTS)
        else:
            assert same(response, provider)


def test_raw_response_has_the_headers(base_url, key):
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    raw = client.embeddings.with_raw_response.create(
        model=MODEL,
        input="The quick brown fox",
        extra_headers={"x-litellm-user-id": "user-raw", "x-litellm-metadata": '{"tags": ["a"]}'},
        extra_body={"a-field-of-our-own": 1},
    )
    assert raw.headers["x-litellm-response-cost"] == "0.00000008"
    assert raw.headers["x-litellm-model-id"] == "default/openai/openai"
    assert len(raw.headers["x-litellm-call-id"]) == 36
    assert raw.parse().usage.prompt_tokens == 4


def test_attribution_as_litellms_callers_write_it(base_url, key, provider, metric):
    """Fields and headers for LiteLLM are read, and the provider, which refuses unknown fields as OpenAI does, gets none of them."""
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)

    def spent(tag):
        return metric("vectoll_key_tag_spend_usd_total", key="default/alice", tag=tag)

    before = spent("nightly"), spent("eval")
    client.embeddings.create(
        model=MODEL,
        input="The quick brown fox",
        extra_body={"metadata": {"job": 7, "user_id": "user-of-metadata"}, "tags": ["nightly"], "num_retries": 1},
        extra_headers={"x-litellm-tags": "eval"},
    )
    assert set(provider.last_body()) == {"model", "input", "encoding_format"}
    assert (spent("nightly") - before[0], spent("eval") - before[1]) == (pytest.approx(0.00000008), 0), "the body's count"
    assert metric("vectoll_user_requests_total", user="user-of-metadata") == 1
    client.embeddings.create(
        model=MODEL,
        input="The quick brown fox",
        extra_headers={"x-litellm-tags": "eval,nightly", "x-litellm-customer-id": "user-of-header", "x-litellm-timeout": "30"},
    )
    assert spent("eval") - before[1] == pytest.approx(0.00000008)
    assert metric("vectoll_user_requests_total", user="user-of-header") == 1
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input="a", extra_body={"tags": "nightly"})
    assert caught.value.param == "tags"


def test_a_key_reads_what_it_may_know_of_itself(base_url, limited_key):
    """As scripts for LiteLLM's proxy do, with whatever client they have."""
    with urllib.request.urlopen(
        urllib.request.Request(f"{base_url}/key/info", headers={"Authorization": f"Bearer {limited_key}"}), timeout=10
    ) as answer:
        found = json.load(answer)
    assert found["key"] == hashlib.sha256(limited_key.encode()).hexdigest()
    info = found["info"]
    assert (info["key_alias"], info["user_id"], info["team_id"]) == ("default/limited", "alice", "default/search")
    assert (info["rpm_limit"], info["tpm_limit"], info["max_budget"]) == (1, None, None)
    assert isinstance(info["spend"], float)


def test_an_input_that_is_too_long_is_refused_before_it_is_sent_or_cut(base_url, key, provider):
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    long = "word" + " word" * 8192
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input=["a", long])
    assert caught.value.code == "context_length_exceeded" and "input[1] has 8193" in str(caught.value)
    assert provider.charged() == (0, 0)
    raw = client.embeddings.with_raw_response.create(
        model=MODEL, input=["a", long], extra_headers={"x-vectoll-truncate": "end"}
    )
    assert raw.headers["x-vectoll-truncated-inputs"] == "1"
    assert raw.parse().usage.prompt_tokens == 8193


def test_streaming_response(base_url, key, provider):
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    with client.embeddings.with_streaming_response.create(model=MODEL, input=TEXTS * 200) as streamed:
        assert same(streamed.parse(), provider, TEXTS * 200)


def test_token_arrays(base_url, key, provider):
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    response = client.embeddings.create(model=MODEL, input=[[83, 1609], [5963]])
    assert len(response.data) == 2 and response.usage.prompt_tokens == 3
    assert provider.last_body()["input"] == [[83, 1609], [5963]]


def test_the_client_waits_as_it_is_told(base_url, serial_key):
    """One call at a time: the second is told to wait a second, and waits, until the first is through."""

    async def both():
        async with openai.AsyncOpenAI(base_url=base_url, api_key=serial_key, max_retries=4) as client:
            slow = asyncio.create_task(client.embeddings.create(model="fault-slow-1500", input="a"))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await client.embeddings.create(model=MODEL, input="b")
            waited = time.monotonic() - began
            await slow
            return waited

    # Told a second each time; without that the client would come back after half a second at most.
    assert asyncio.run(both()) >= 2


def test_a_full_window_is_told_in_the_range_that_the_client_would_honour(base_url, limited_key):
    """Not waited for here: that takes a minute. The client itself takes up to 60 seconds for reasonable."""
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(2):
            openai.OpenAI(base_url=base_url, api_key=limited_key, max_retries=0).embeddings.create(model=MODEL, input="a")
    assert 0 < float(caught.value.response.headers["retry-after"]) < 60
