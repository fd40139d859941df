"""Grammars, compiled for one model's vocabulary."""

import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path

from llguidance import LLMatcher, LLTokenizer

from actors.engine.grammar.limits import LIMITS
from actors.engine.grammar.matcher import shortened
from config.errors import EngineError, InvalidRequest, ServingError

MOST_COMPILED = 64  # kept for the next request with the same grammar
log = logging.getLogger(__name__)


class Compiler:
    """Compiles each grammar once; any thread. The least recently used ones are forgotten."""

    def __init__(self, folder: Path, vocab_size: int, eos_token_ids: list[int]) -> None:
        """Starts reading the tokenizer, in a thread.

        At 128k tokens that takes a second in which no other Python runs: better while the engine
        starts than at the first grammar, when it would hold up everybody's stream.
        """
        self._tokenizer: Future[LLTokenizer] = Future()
        self._compiled: OrderedDict[str, Future[LLMatcher]] = OrderedDict()
        self._lock = threading.Lock()
        arguments = (self._tokenizer, folder, vocab_size, eos_token_ids)
        threading.Thread(
            target=_read_tokenizer, args=arguments, name="grammar-tokenizer", daemon=True
        ).start()

    def vocab_size(self) -> int:
        """Of the masks; may be more than the model's. Known once something was compiled."""
        size: int = self._tokenizer.result().vocab_size
        return size

    def state(self, source: str) -> LLMatcher:
        """A fresh state of this grammar.

        Raises:
            InvalidRequest: it is not valid, cannot be satisfied, or is over the limits.
            EngineError: this model's tokenizer is of a kind that llguidance does not know.
        """
        with self._lock:
            found = self._compiled.get(source)
            mine = found is None
            if found is None:
                found = self._compiled[source] = Future()
            self._compiled.move_to_end(source)
            while len(self._compiled) > MOST_COMPILED:
                self._compiled.popitem(last=False)
        if mine:
            self._settle(found, source)
        return found.result().deep_copy()

    def _settle(self, future: Future[LLMatcher], source: str) -> None:
        try:
            future.set_result(_compile(self._tokenizer.result(), source))
        except ServingError as error:
            future.set_exception(error)


def _read_tokenizer(
    future: Future[LLTokenizer], folder: Path, vocab_size: int, eos_token_ids: list[int]
) -> None:
    path, eos = str(folder / "tokenizer.json"), eos_token_ids or None
    try:
        try:
            tokenizer = LLTokenizer(path, n_vocab=vocab_size, eos_token=eos)
        except ValueError:  # a vocabulary larger than the model's logits
            tokenizer = LLTokenizer(path, eos_token=eos)
            if tokenizer.vocab_size < vocab_size:
                raise
    except BaseException as error:  # Rust panics are no Exception, and a thread waits for us
        log.info("structured output is not possible: %s", error)
        future.set_exception(EngineError("this model's tokenizer knows no structured output"))
    else:
        future.set_result(tokenizer)


def _compile(tokenizer: LLTokenizer, source: str) -> LLMatcher:
    try:
        state = LLMatcher(tokenizer, source, log_level=0, limits=LIMITS)
        if not state.is_error():
            state.compute_bitmask()  # what nothing can satisfy shows here, and copies are warm
        reason = shortened(state.get_error()) if state.is_error() else None
    except BaseException as error:  # Rust panics are no Exception, and others wait for us
        reason = shortened(str(error))
    if reason is not None:
        raise InvalidRequest(f"the grammar cannot be used: {reason}", param="grammar")
    return state
