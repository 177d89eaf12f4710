"""Each example of the documented API runs as it stands."""

import json
import subprocess

import openai
from conftest import floats
from documented import example


def run(heading):
    """Runs the example's code and returns its variables."""
    variables = {"__name__": "__main__"}
    exec(compile(example(heading), heading, "exec"), variables)  # noqa: S102
    return variables


def test_basic_request(provider):
    finished = subprocess.run(["sh", "-c", example("Basic Request")], capture_output=True, text=True, timeout=30)
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    text = "The quick brown fox jumps over the lazy dog"
    assert answer["object"] == "list"
    assert answer["model"] == "text-embedding-3-small"
    assert [floats(item["embedding"]) for item in answer["data"]] == provider.vectors(text)
    assert provider.charged() == (1, answer["usage"]["prompt_tokens"]) == (1, 9)
    assert provider.last_body() == {"model": "text-embedding-3-small", "input": text}


def test_python_request(provider, capsys):
    response = run("Python Request")["response"]
    text = "The quick brown fox"
    printed = json.loads(capsys.readouterr().out)
    assert len(printed) == 1536
    assert [floats(printed)] == provider.vectors(text)
    assert response.model == "text-embedding-3-small"
    assert provider.charged() == (1, response.usage.total_tokens) == (1, 4)
    # The official client asks for base64 unless told otherwise.
    assert provider.last_body() == {"model": "text-embedding-3-small", "input": text, "encoding_format": "base64"}


def test_batch_embeddings(provider, capsys):
    response = run("Batch Embeddings")["response"]
    texts = ["First document", "Second document", "Third document"]
    assert capsys.readouterr().out == "".join(f"Document {index}: 1536 dimensions\n" for index in range(3))
    assert [floats(item.embedding) for item in response.data] == provider.vectors(texts)
    assert [item.index for item in response.data] == [0, 1, 2]
    assert provider.charged() == (1, response.usage.prompt_tokens) == (1, 6)
    assert provider.last_body()["input"] == texts


def test_with_user_tracking(provider, metric):
    before = metric("vectoll_user_requests_total", user="user-123")
    response = run("With User Tracking")["response"]
    assert [floats(response.data[0].embedding)] == provider.vectors("Sample text")
    assert provider.charged() == (1, response.usage.prompt_tokens)
    assert metric("vectoll_user_requests_total", user="user-123") == before + 1


def test_custom_dimensions(provider, capsys):
    response = run("Custom Dimensions")["response"]
    assert capsys.readouterr().out == "512\n"
    assert [floats(response.data[0].embedding)] == provider.vectors("Sample text", 512)
    assert provider.last_body()["dimensions"] == 512


def test_user_of_the_body_reaches_the_provider(provider, metric, base_url, key):
    before = metric("vectoll_user_requests_total", user="user-456")
    client = openai.OpenAI(api_key=key, base_url=base_url)
    client.embeddings.create(model="text-embedding-3-small", input="Sample text", user="user-456")
    assert provider.last_body()["user"] == "user-456"
    assert metric("vectoll_user_requests_total", user="user-456") == before + 1


def test_floats_are_the_same_vectors(provider, base_url, key):
    client = openai.OpenAI(api_key=key, base_url=base_url)
    response = client.embeddings.create(model="text-embedding-3-small", input="Sample text", encoding_format="float")
    assert [floats(response.data[0].embedding)] == provider.vectors("Sample text")
    assert provider.last_body()["encoding_format"] == "float"
