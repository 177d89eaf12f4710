"""What else the official client can do: Azure's class, asynchronous calls, raw responses, and waiting as it is told."""

import asyncio
import base64
import time

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
