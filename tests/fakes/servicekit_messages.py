"""A message type with protovalidate rules, made at run time so that servicekit's tests need no service's
.proto."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from buf.validate import validate_pb2

_FIELD = descriptor_pb2.FieldDescriptorProto


def _order_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="servicekit/test/order.proto",
        package="servicekit.test",
        syntax="proto3",
        dependency=["buf/validate/validate.proto"],
    )
    item = file.message_type.add(name="Item")
    count = item.field.add(name="count", number=1, type=_FIELD.TYPE_INT32, label=_FIELD.LABEL_OPTIONAL)
    count.options.Extensions[validate_pb2.field].int32.gt = 0

    order = file.message_type.add(name="Order")
    name = order.field.add(name="name", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    name.options.Extensions[validate_pb2.field].string.min_len = 1
    order.field.add(
        name="items",
        number=2,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".servicekit.test.Item",
        label=_FIELD.LABEL_REPEATED,
    )
    entry = order.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    labels = order.field.add(
        name="labels",
        number=3,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".servicekit.test.Order.LabelsEntry",
        label=_FIELD.LABEL_REPEATED,
    )
    labels.options.Extensions[validate_pb2.field].map.values.string.max_len = 3
    rule = order.options.Extensions[validate_pb2.message].cel.add(id="order.few")
    rule.message, rule.expression = "an order has three items at most", "size(this.items) <= 3"
    return file


descriptor_pool.Default().Add(_order_file())
Order: Any = message_factory.GetMessageClass(
    descriptor_pool.Default().FindMessageTypeByName("servicekit.test.Order")
)
