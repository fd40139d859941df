"""Every parameter with bad input: refused with 400, and the error names it."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.scripted import CONTEXT, demo_view, says, served
from transport.messages.client import GenerationParameters

CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
ASK = [{"role": "user", "content": "Hello"}]
BAD_IN_BOTH = [
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", "hot"),
    ("temperature", True),
    ("top_p", -0.1),
    ("top_p", 1.1),
    ("top_k", -2),
    ("top_k", 1.5),
    ("min_p", -0.1),
    ("min_p", 1.1),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("max_tokens", 1.5),
    ("seed", 2**63),
    ("seed", -(2**63) - 1),
    ("seed", 10**30),
    ("seed", "lucky"),
    ("stop", [""]),
    ("stop", ""),
    ("stop", ["x"] * 17),
    ("stop", "x" * 1001),
    ("stop", 5),
    ("stop_token_ids", [-1]),
    ("stop_token_ids", [3072]),
    ("stop_token_ids", ["a"]),
    ("stop_token_ids", [1] * 257),
    ("ignore_eos", "yes"),
    ("stream", "yes"),
    ("stream_options", {"include_usage": True}),
    ("service_tier", "best"),
    ("priority", 2**31),
    ("priority", "high"),
    ("model", 5),
    ("user", 5),
    ("n", 0),
    ("n", 17),
    ("n", True),
    ("n", 1.5),
    ("top_logprobs", 21),
    ("top_logprobs", 2),
    ("max_completion_tokens", 0),
    ("xtc_probability", 1.1),
    ("xtc_probability", -0.1),
    ("xtc_threshold", 0.6),
    ("logit_bias", {"5": 101}),
    ("logit_bias", {"5": "x"}),
    ("logit_bias", {"3072": 1}),
    ("logit_bias", {"-1": 1}),
    ("logit_bias", {"word": 1}),
    ("logit_bias", {"\u0665": 1}),
    ("logit_bias", [5]),
    ("logit_bias", {str(token): 1 for token in range(1025)}),
    ("frequency_penalty", 2.1),
    ("presence_penalty", -2.1),
    ("presence_penalty", "x"),
    ("repetition_penalty", 0),
    ("repetition_penalty", 10.1),
    ("min_tokens", 5),
    ("response_format", "json"),
    ("response_format", {}),
    ("response_format", {"type": "xml"}),
    ("response_format", {"type": "json_schema"}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
    ("response_format", {"type": "text", "json_schema": {"schema": {}}}),
    ("response_format", {"type": "json_object", "extra": 1}),
    ("structured_outputs", {"json": 5}),
    ("structured_outputs", {"yaml": "x"}),
    ("structured_outputs", {"regex": "a", "choice": ["a"]}),
    ("structured_outputs", {"choice": []}),
    ("guided_json", "{"),
    ("guided_json", "[]"),
    ("guided_choice", []),
    ("guided_choice", ["x"] * 1025),
    ("guided_choice", [5]),
    ("guided_regex", 5),
    ("guided_regex", "("),
    ("guided_grammar", "start: nothing"),
    ("guided_json", {"type": "nothing"}),
]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
BAD_IN_CHAT = [
    ("messages", None),
    ("messages", []),
    ("messages", "Hello"),
    ("messages", [{"role": "user", "content": "x"}] * 4097),
    ("logprobs", 3),
    ("logprobs", "yes"),
    ("tools", [{"type": "function"}]),
    ("tools", [{"type": "retrieval", "function": {"name": "f"}}]),
    ("tools", [{"type": "function", "function": {"name": "no name"}}]),
    ("tools", [{"type": "function", "function": {"name": "f", "parameters": 5}}]),
    ("tools", [TOOL, TOOL]),
    ("tools", [TOOL | {"function": {"name": f"f{count}"}} for count in range(129)]),
    ("tools", {"a": 1}),
    ("tool_choice", "required"),
    ("tool_choice", "maybe"),
    ("tool_choice", {"type": "function"}),
    ("tool_choice", {"type": "allowed_tools"}),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}),
    ("parallel_tool_calls", "yes"),
    ("functions", [{}]),
    ("function_call", {"name": "f"}),
    ("modalities", ["audio"]),
    ("audio", {"voice": "x"}),
    ("reasoning_effort", "low"),
    ("reasoning_effort", "much"),
    ("verbosity", "low"),
    ("moderation", {"model": "x"}),
    ("web_search_options", {}),
    ("chat_template", "x"),
    ("chat_template_kwargs", {"messages": []}),
    ("chat_template_kwargs", {"a b": 1}),
    ("chat_template_kwargs", {"__class__": 1}),
    ("chat_template_kwargs", {"x": "y" * 40_000}),
    ("chat_template_kwargs", {f"x{count}": 1 for count in range(65)}),
]
BAD_IN_COMPLETIONS = [
    ("prompt", None),
    ("prompt", []),
    ("prompt", [1, "a"]),
    ("prompt", [[1], 2]),
    ("prompt", [1.5]),
    ("prompt", [3072]),
    ("prompt", [-1]),
    ("prompt", [[]]),
    ("prompt", ""),
    ("prompt", ["x"] * 129),
    ("best_of", 2),
    ("echo", "yes"),
    ("suffix", "end"),
    ("logprobs", True),
    ("logprobs", -1),
    ("logprobs", 21),
    ("tools", [TOOL]),
    ("tool_choice", "auto"),
    ("parallel_tool_calls", True),
    ("chat_template_kwargs", {"x": 1}),
]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BAD_MESSAGES = [
    ({"role": "wizard", "content": "x"}, "messages[0].role"),
    ({"role": "user"}, "messages[0].content"),
    ({"role": "user", "content": None}, "messages[0].content"),
    ({"role": "user", "content": 5}, "messages[0].content"),
    ({"content": "x"}, "messages[0].role"),
    ({"role": "user", "content": "x", "mood": "good"}, "messages[0].mood"),
    ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].type"),
    ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
    ({"role": "assistant"}, "messages[0].content"),
    ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "messages[0].tool_calls[0].function"),
    ({"role": "assistant", "tool_calls": [CALL | {"id": ""}]}, "messages[0].tool_calls[0].id"),
    (
        {"role": "assistant", "tool_calls": [CALL | {"type": "x"}]},
        "messages[0].tool_calls[0].type",
    ),
    (
        {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "", "arguments": ""}}]},
        "messages[0].tool_calls[0].function.name",
    ),
    ({"role": "assistant", "tool_calls": [CALL] * 129}, "messages[0].tool_calls"),
    ({"role": "user", "content": "x", "tool_calls": [CALL]}, "messages[0].tool_calls"),
    ({"role": "user", "content": "x", "reasoning_content": "y"}, "messages[0].reasoning_content"),
    ({"role": "user", "content": "x", "reasoning": "y"}, "messages[0].reasoning"),
    ({"role": "user", "content": "x", "tool_call_id": "y"}, "messages[0].tool_call_id"),
    ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
    ({"role": "tool", "content": "x", "tool_call_id": "1"}, "messages[0].tool_call_id"),
    ({"role": "assistant", "function_call": {"name": "f"}}, "messages[0].function_call"),
]


def refusals(path: str, bodies: list[dict]) -> list[dict]:
    """The errors that these are answered with; one server, as starting one is what takes time."""

    async def run():
        async with served(says("x")) as server:
            answers = [await server.post(path, body) for body in bodies]
        for body, (status, answer) in zip(bodies, answers, strict=True):
            assert status == 400, (body, answer)
        assert not server.dispatch.requests
        for _, answer in answers:
            assert answer["error"].keys() == {"message", "type", "param", "code"}
            assert answer["error"]["type"] == "invalid_request_error"
        return [answer["error"] for _, answer in answers]

    return asyncio.run(run())


def refused(path: str, body: dict) -> dict:
    return refusals(path, [body])[0]


def assert_each_is_named(path: str, well: dict, bad: list[tuple[str, object]]) -> None:
    errors = refusals(path, [well | {name: value} for name, value in bad])
    for (name, value), error in zip(bad, errors, strict=True):
        assert error["param"].partition("[")[0].partition(".")[0] == name, (value, error)


def test_chat_refuses():
    assert_each_is_named("/v1/chat/completions", {"messages": ASK}, BAD_IN_BOTH + BAD_IN_CHAT)


def test_completions_refuse():
    assert_each_is_named("/v1/completions", {"prompt": "Hi"}, BAD_IN_BOTH + BAD_IN_COMPLETIONS)


def test_a_bad_message_is_named_by_its_place():
    bodies = [{"messages": [message]} for message, _ in BAD_MESSAGES]
    errors = refusals("/v1/chat/completions", bodies)
    assert [error["param"] for error in errors] == [param for _, param in BAD_MESSAGES]


@pytest.mark.parametrize("logprobs", [0, 2])
def test_prompts_have_no_log_probabilities_to_echo(logprobs):
    body = {"prompt": "x", "echo": True, "logprobs": logprobs}
    assert refused(COMPLETE, body)["param"] == "echo"


def test_an_unknown_parameter_is_named_with_what_was_meant():
    error = refused("/v1/chat/completions", {"messages": ASK, "temprature": 1})
    assert error["param"] == "temprature"
    assert "did you mean 'temperature'" in error["message"]


def test_messages_are_needed():
    assert refused("/v1/chat/completions", {})["param"] == "messages"
    assert refused("/v1/completions", {})["param"] == "prompt"


@pytest.mark.parametrize("prompt", [[9999] * 512, [[9999] * 512], [5] * 511 + ["x"]])
def test_too_many_token_ids_are_not_looked_at(prompt):
    assert refused("/v1/completions", {"prompt": prompt})["code"] == "context_length_exceeded"


def test_a_prompt_over_the_context_says_both_numbers():
    error = refused("/v1/completions", {"prompt": [5] * 512})
    assert error["code"] == "context_length_exceeded"
    assert error["message"].count("512") == 2


def test_n_times_the_prompts_is_bounded():
    body = {"prompt": ["x"] * 9, "n": 15}
    assert refused("/v1/completions", body)["param"] == "n"


@pytest.mark.parametrize(
    ("path", "given", "said"),
    [
        (CHAT, {"max_tokens": 0}, "max_tokens must be 1 or more, not 0"),
        (CHAT, {"max_completion_tokens": -5}, "max_completion_tokens must be 1 or more, not -5"),
        (CHAT, {"temperature": 3}, "temperature must be from 0 to 2, not 3.0"),
        (CHAT, {"repetition_penalty": 0},
         "repetition_penalty must be over 0 and up to 10, not 0.0"),
        (CHAT, {"top_k": -2}, "top_k must be from -1 to 2147483647, not -2"),
        (CHAT, {"n": 17}, "n must be from 1 to 16, not 17"),
        (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs must be from 0 to 20, not 21"),
        (CHAT, {"logit_bias": {"5": 101}},
         "a bias in logit_bias must be from -100 to 100, not 101.0"),
        (COMPLETE, {"logprobs": 21}, "logprobs must be from 0 to 20, not 21"),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_told_what_it_may_be(path, given, said):
    well = {"prompt": "x"} if path == COMPLETE else {"messages": ASK}
    assert refused(path, well | given)["message"] == said


@pytest.mark.parametrize("tokens", [2**63, 10**30])
def test_more_tokens_than_the_context_holds_are_cut(tokens):
    async def run():
        async with served(says("x")) as server:
            status, _ = await server.post(COMPLETE, {"prompt": [5, 6], "max_tokens": tokens})
            return status, server.dispatch.requests[0].max_tokens

    assert asyncio.run(run()) == (200, CONTEXT - 2)


VALUES = st.sampled_from(
    [None, True, 0, 1, -1, 1.5, 2**64, "", "x", [], {}, ["x"], [1], {"1": 1}, {"type": "x"}, [{}]]
)
NAMES = st.sampled_from(GenerationParameters.__struct_fields__)


def test_whatever_values_come_the_answer_is_an_answer_or_a_reason():
    bodies = []

    @settings(max_examples=150, database=None)
    @given(st.dictionaries(NAMES, VALUES, max_size=3))
    def collect(body):
        bodies.append(body)

    async def run():
        async with served(says("x")) as server:
            for body in bodies:
                for path, well in (
                    ("/v1/chat/completions", {"messages": ASK}),
                    ("/v1/completions", {"prompt": "x"}),
                ):
                    status, answer = await server.post(path, well | body)
                    assert status in {200, 400}, (body, answer)
                    assert status == 200 or answer["error"]["param"], (body, answer)

    collect()
    asyncio.run(run())


def test_there_is_one_way_at_a_time_to_say_what_the_answer_is():
    body = {"prompt": "x", "response_format": {"type": "json_object"}, "guided_regex": "a"}
    assert refused("/v1/completions", body)["param"] == "response_format"


def test_of_several_models_one_must_be_named():
    async def run():
        async with served(says("x"), views=[demo_view("a"), demo_view("b")]) as server:
            status, answer = await server.post("/v1/completions", {"prompt": "x"})
            assert (status, answer["error"]["param"]) == (400, "model")
            assert "a, b" in answer["error"]["message"]
            status, answer = await server.post("/v1/completions", {"prompt": "x", "model": "b"})
            assert (status, answer["model"]) == (200, "b")

    asyncio.run(run())


@pytest.mark.parametrize("session", [b"\xff", b"a b", b"x" * 129, "\u00e9".encode()])
def test_a_session_that_is_no_plain_word_is_refused(session):
    """Raw bytes: HTTP clients would not send most of these."""

    async def run():
        async with served(says("x")) as server:
            body = b'{"prompt": "x"}'
            head = b"POST /v1/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
            head += b"X-Session-ID: " + session + b"\r\n"
            head += b"Content-Length: %d\r\n\r\n" % len(body)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head + body)
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"X-Session-ID" in answer.partition(b"\r\n\r\n")[2]
            assert server.dispatch.requests == []

    asyncio.run(run())
