"""The documented errors, as the official client sees them."""

import openai
import pytest
from documented import is_as_documented

MODEL = "text-embedding-3-small"


def client(key, base_url):
    return openai.OpenAI(api_key=key, base_url=base_url, max_retries=0)


def test_401_unauthorized(base_url, provider):
    with pytest.raises(openai.AuthenticationError) as caught:
        client("sk-litellm-wrong", base_url).embeddings.create(model=MODEL, input="Sample text")
    assert is_as_documented(caught.value.response.json(), "401 Unauthorized")
    assert "sk-litellm-wrong" not in caught.value.response.text
    assert provider.charged() == (0, 0)


def test_429_too_many_requests(base_url, limited_key, provider):
    limited = client(limited_key, base_url)
    limited.embeddings.create(model=MODEL, input="Sample text")
    with pytest.raises(openai.RateLimitError) as caught:
        limited.embeddings.create(model=MODEL, input="Sample text")
    assert is_as_documented(caught.value.response.json(), "429 Too Many Requests")
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert provider.charged() == (1, 2)


@pytest.mark.parametrize("wrong", [[], [""], ["text", 1], [[1], "text"], {"text": "x"}, 1, [1.5], None])
def test_400_bad_request(base_url, key, provider, wrong):
    with pytest.raises(openai.BadRequestError) as caught:
        client(key, base_url).embeddings.create(model=MODEL, input=wrong)
    assert is_as_documented(caught.value.response.json(), "400 Bad Request")
    assert provider.charged() == (0, 0)
