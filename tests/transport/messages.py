"""Strategies for every message of every union, made from their types."""

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from transport.messages import admin, client, control, data, lifeline, topology

UNIONS = {
    "ToEngine": data.ToEngine,
    "FromEngine": data.FromEngine,
    "ToControl": control.ToControl,
    "FromControl": control.FromControl,
    "Topology": topology.Topology,
    "ToChild": lifeline.ToChild,
    "FromChild": lifeline.FromChild,
    "ToGateway": client.ToGateway,
    "FromGateway": client.FromGateway,
    "AdminRequest": admin.AdminRequest,
    "AdminReply": admin.AdminReply,
    "Published": admin.Published,
}
_INT = {"min_value": -(2**63), "max_value": 2**64 - 1}
_plain = st.none() | st.booleans() | st.integers(**_INT) | st.text(max_size=5)
_raw = st.dictionaries(st.text(max_size=5), _plain, max_size=3).map(msgspec.msgpack.encode)
_anything = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def messages(union):
    """Any message of this union."""
    return _of(inspect.type_info(union))


def _struct(info):
    fields = {field.name: _of(field.type) for field in info.fields}
    return st.builds(info.cls, **fields)


def _int(info):
    low = _INT["min_value"] if info.ge is None else info.ge
    return st.integers(low, _INT["max_value"] if info.le is None else info.le)


def _float(info):
    return st.floats(info.ge, info.le, allow_nan=False)


def _text(info):
    return st.text(min_size=info.min_length or 0, max_size=min(info.max_length or 12, 12))


_BUILDERS = {
    inspect.AnyType: lambda info: _anything,
    inspect.NoneType: lambda info: st.none(),
    inspect.BoolType: lambda info: st.booleans(),
    inspect.IntType: _int,
    inspect.FloatType: _float,
    inspect.StrType: _text,
    inspect.BytesType: lambda info: st.binary(max_size=12),
    inspect.RawType: lambda info: _raw.map(msgspec.Raw),
    inspect.LiteralType: lambda info: st.sampled_from(info.values),
    inspect.ListType: lambda info: st.lists(_of(info.item_type), max_size=3),
    inspect.TupleType: lambda info: st.tuples(*map(_of, info.item_types)),
    inspect.DictType: lambda info: st.dictionaries(
        _of(info.key_type), _of(info.value_type), max_size=3
    ),
    inspect.UnionType: lambda info: st.one_of(*map(_of, info.types)),
    inspect.StructType: _struct,
}


def _of(info):
    return _BUILDERS[type(info)](info)
