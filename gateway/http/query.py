"""Queries, read by the types that their description is made of."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from transport.parameters import misfit

S = TypeVar("S", bound=Struct)


def read_query(kind: type[S], query: Mapping[str, str]) -> S:
    """What a query says; names that `kind` does not have are passed over, as clients and proxies
    add their own.

    Raises:
        InvalidRequest: names what is wrong in it.
    """
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as error:
        raise misfit(str(error)) from error
