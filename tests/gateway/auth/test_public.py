"""What those see who show no key where one is needed."""

import asyncio

from config.errors import Unauthenticated
from gateway.auth.identity import LOCAL, Identity
from tests.gateway.scripted import says, served


class OneKey:
    def identify(self, header):
        if header("x-api-key") != "right":
            raise Unauthenticated("no key")
        return Identity(name="somebody", key_id="k")


def test_whether_the_server_is_ready_is_public_and_the_names_of_its_models_are_not():
    async def run():
        async with served(says("x"), authenticator=OneKey()) as server:
            status, body = await server.get("/ready")
            assert (status, body["status"], body["models"]) == (200, "ready", {})
            headers = {"x-api-key": "right"}
            async with server.session.get(f"{server.url}/ready", headers=headers) as response:
                assert (await response.json())["models"] == {"demo": "ready"}
            assert (await server.get("/v1/models"))[0] == 401

    asyncio.run(run())


def test_stored_prefixes_are_shared_within_a_tenant_and_with_nobody_by_keys_that_have_none():
    one, two = Identity(key_id="a"), Identity(key_id="b")
    assert LOCAL.salt == ""
    assert len({one.salt, two.salt, LOCAL.salt, Identity(tenant="a").salt}) == 4
    assert Identity(tenant="t", key_id="a").salt == Identity(tenant="t", key_id="b").salt
