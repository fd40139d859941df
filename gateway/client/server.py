"""Answers users' programs over ZeroMQ; everything here lives on the gateway's event loop."""

import asyncio
import logging

import msgspec
import zmq
from msgspec import Struct

from config.errors import ProtocolError, ServingError
from config.version import server_version
from gateway.client.running import Peer, Running, failed
from gateway.models import model_info
from gateway.service import Caller, Prepared, Service
from gateway.tokenizing import tokenize
from transport.asyncio_socket import LoopSocket
from transport.codec import MAX_FRAME_BYTES, Codec
from transport.messages.client import (
    CLIENT_PROTOCOL,
    Beat,
    CancelRequest,
    Chat,
    ClientHello,
    Complete,
    FromGateway,
    ListModels,
    Models,
    Question,
    ToGateway,
    Tokenize,
    Tokens,
    Welcome,
)
from transport.sockets import router

BEAT_S = 1.0
log = logging.getLogger(__name__)
_from_gateway: Codec[FromGateway] = Codec(FromGateway)


class _Addressed(Struct):
    """What can be read of a message that is wrong otherwise."""

    request_id: str = ""


_addressed = msgspec.msgpack.Decoder(_Addressed)


class ClientServer:
    """A ROUTER that users' programs connect to.

    A bad frame is answered with `Failed` and nothing else happens. A client that is gone is
    noticed when something is sent to it, at the latest by the next `Beat`; its requests are
    cancelled.
    """

    def __init__(self, service: Service, gateway_id: str, max_message_bytes: int) -> None:
        self._service = service
        self._max_message_bytes = max_message_bytes
        self._to_gateway: Codec[ToGateway] = Codec(ToGateway, max_bytes=max_message_bytes)
        self._welcome = Welcome(CLIENT_PROTOCOL, server_version(), gateway_id)
        self._peers: dict[bytes, Peer] = {}

    def start(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        """Bind; a socket file that an earlier incarnation left is replaced.

        A message that is too large gets an answer, one of more than twice that is not even read:
        its sender is disconnected.
        """
        limit = min(2 * self._max_message_bytes, MAX_FRAME_BYTES)
        self._socket = router(context, endpoint, max_bytes=limit)
        self._messages = LoopSocket(self._socket, self._socket.recv_multipart, self._receive)
        self._beat()

    def close(self) -> None:
        """Cancel what runs and close the socket."""
        self._timer.cancel()
        for peer in list(self._peers.values()):
            peer.drop()
        self._messages.close()
        self._socket.close()

    def send(self, identity: bytes, message: FromGateway) -> None:
        """Send to one client.

        Raises:
            zmq.Again: it does not read, its queue is full.
            zmq.ZMQError: it is gone.
        """
        self._messages.send_frames([identity, _from_gateway.encode(message)])

    def _receive(self, frames: list[bytes]) -> None:
        identity, *rest = frames
        peer = self._peers.get(identity) or Peer(identity, self.send)
        if len(rest) != 1:
            peer.send(failed("", ProtocolError(f"a message is one frame, not {len(rest)}")))
            return
        try:
            message = self._to_gateway.decode(rest[0])
        except ProtocolError as error:
            peer.send(failed(_address(rest[0]), error))
            return
        self._handle(peer, message)
        if peer.idle:
            self._peers.pop(identity, None)
        else:
            self._peers[identity] = peer

    def _handle(self, peer: Peer, message: ToGateway) -> None:
        match message:
            case ClientHello():
                peer.send(self._welcome)
            case CancelRequest():
                peer.cancel(message.request_id)
            case ListModels():
                models = [model_info(view) for view in self._service.models()]
                peer.send(Models(message.request_id, models))
            case _ if message.request_id in peer.running:
                peer.fail(message.request_id, ProtocolError("this request id is in use"))
            case _:
                running = peer.add(message.request_id)
                running.task = asyncio.ensure_future(self._answer(peer, running, message))

    async def _answer(self, peer: Peer, running: Running, question: Question) -> None:
        try:
            if isinstance(question, Tokenize):
                peer.finish(await self._tokens(question))
                return
            prepared = await self._prepare(question)
            outputs = running.outputs(len(prepared.requests))
            running.answers = self._service.begin([prepared], outputs)
        except ServingError as error:
            peer.fail(running.request_id, error)
        except Exception:
            log.exception("unexpected failure")
            peer.fail(running.request_id, ServingError("the server had an internal error"))

    async def _prepare(self, question: Question) -> Prepared:
        match question:
            case Chat():
                asked, caller = question.parameters, _caller("zmq_chat", question)
                return await self._service.prepare_chat(
                    question.messages, question.model, asked, caller
                )
            case Complete():
                asked, caller = question.parameters, _caller("zmq_complete", question)
                (prepared,) = await self._service.prepare_prompts(
                    [question.prompt], question.model, asked, caller
                )
                return prepared
            case _:
                raise ProtocolError("not a question")

    async def _tokens(self, question: Tokenize) -> Tokens:
        found = await tokenize(
            self._service,
            question.text,
            question.model,
            Caller("tokenize"),
            add_special_tokens=question.add_special_tokens,
            spelled=True,
            param="text",
        )
        return Tokens(question.request_id, found.tokens, found.texts or [])

    def _beat(self) -> None:
        for identity, peer in list(self._peers.items()):
            if not peer.idle:
                peer.send(Beat())
            if peer.idle:
                del self._peers[identity]
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)


def _caller(endpoint: str, question: Chat | Complete) -> Caller:
    return Caller(endpoint, question.parameters.session, question.parameters.timeout_s)


def _address(frame: bytes) -> str:
    try:
        return _addressed.decode(memoryview(frame)[1:]).request_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
