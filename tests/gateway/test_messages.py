from gateway.messages import template_messages
from transport.messages.client import ChatMessage


def test_thoughts_have_two_names():
    said = [
        ChatMessage(role="assistant", content="a", reasoning="why"),
        ChatMessage(role="assistant", content="a", reasoning_content="why", reasoning="other"),
    ]
    assert [turn["reasoning_content"] for turn in template_messages(said)] == ["why", "why"]
