"""Chat templates: a model's own Jinja text, rendered in a sandbox.

Source: transformers/utils/chat_template_utils.py, whose environment the templates are written for.
"""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from config.errors import InvalidRequest, ModelLoadFailed

log = logging.getLogger(__name__)


class _GenerationBlock(Extension):
    """`{% generation %}` marks the assistant's words for training; here its body is just text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(value: object, indent: int | None = None, ensure_ascii: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


class ChatTemplate:
    """Renders conversations for one model; `special_tokens` are variables like `bos_token`.

    Raises:
        ModelLoadFailed: when made from a source that is no template.
    """

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        try:
            template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            log.error("a chat template is damaged: %s", error)
            raise ModelLoadFailed("the model's chat template is damaged") from error
        self._render: Callable[..., str] = template.render
        self._special_tokens = special_tokens

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for these messages, up to where the assistant begins to speak.

        `arguments` are further variables of the template.

        Raises:
            InvalidRequest: the template does not take these messages, and why.
        """
        try:
            return self._render(
                {
                    **self._special_tokens,
                    **(arguments or {}),
                    "messages": messages,
                    "tools": tools or None,
                    "documents": None,
                    "add_generation_prompt": True,
                }
            )
        except Exception as error:  # the template is foreign code and may fail in any way
            raise InvalidRequest(
                f"the model's chat template refused the messages: {error}", param="messages"
            ) from error
