"""A server that wants keys, which come and go while it runs."""

import openai
import pytest
from openai import OpenAI

from gateway.auth.key_store import KeyStore
from mlx_serving.cli import main
from tests.e2e.server import Server, wait_for

MESSAGES = [{"role": "user", "content": "Hi"}]
REFUSED = "401 invalid_api_key"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def url(file):
    with Server("--keys-file", str(file), "demo", "demo=other") as running:
        yield running.wait_ready() + "/v1"


@pytest.fixture
def create(file, capsys):
    def create(*words):
        assert main(["keys", "create", "ann", "--keys-file", str(file), *words]) == 0
        return capsys.readouterr().out.strip()

    return create


def ask(url, key, model="demo"):
    """`ok`, or the code of the error."""
    client = OpenAI(base_url=url, api_key=key, max_retries=0)
    try:
        client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
    except openai.APIStatusError as error:
        return f"{error.status_code} {error.code}"
    return "ok"


@pytest.mark.processes
def test_keys_come_and_go_while_the_server_runs(url, file, create):
    assert ask(url, "sk-none") == REFUSED
    key = create()
    wait_for(lambda: ask(url, key) == "ok")
    (record,) = KeyStore(str(file)).read()
    assert main(["keys", "revoke", record.id, "--keys-file", str(file)]) == 0
    wait_for(lambda: ask(url, key) == REFUSED)


@pytest.mark.processes
def test_a_model_that_a_key_may_not_use_does_not_exist_for_it(url, create):
    key = create("--model", "other")
    wait_for(lambda: ask(url, key, "other") == "ok")
    assert ask(url, key, "demo") == "404 model_not_found"
    listed = OpenAI(base_url=url, api_key=key).models.list()
    assert [model.id for model in listed] == ["other"]
