"""The examples and errors of the documented API, word for word."""

import json
import os
import pathlib

FIXTURE = pathlib.Path(__file__).parents[2] / "fixtures" / "embeddings-api.txt"

# As they follow each other: a section ends where the next one begins.
HEADINGS = [
    "Basic Request",
    "Python Request",
    "Batch Embeddings",
    "With User Tracking",
    "Custom Dimensions",
    "Error Responses",
    "401 Unauthorized",
    "429 Too Many Requests",
    "400 Bad Request",
    "Proxy Features",
]


def section(heading):
    lines = FIXTURE.read_text(encoding="utf-8").splitlines()
    following = HEADINGS[HEADINGS.index(heading) + 1]
    assert lines.count(heading) == 1 and lines.count(following) == 1
    return "\n".join(lines[lines.index(heading) + 1 : lines.index(following)]).strip() + "\n"


def example(heading):
    """The code of an example, with nothing changed but the key and the address."""
    code = section(heading)
    for placeholder, value in {
        "sk-litellm-xxx": os.environ["VECTOLL_KEY"],
        "http://localhost:4000": os.environ["VECTOLL_BASE_URL"],
    }.items():
        assert code.count(placeholder) == 1
        code = code.replace(placeholder, value)
    return code


def error(heading):
    return json.loads(section(heading))["error"]


def is_as_documented(answer, heading):
    """The message may go on after the documented words, and fields may be added."""
    documented = error(heading)
    answered = answer["error"]
    assert answered["message"].startswith(documented.pop("message")), answered
    assert {field: answered.get(field) for field in documented} == documented
    return True
