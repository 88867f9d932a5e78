from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ModelFamily(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_FAMILY_UNSPECIFIED: _ClassVar[ModelFamily]
    MODEL_FAMILY_SD15: _ClassVar[ModelFamily]
    MODEL_FAMILY_SDXL: _ClassVar[ModelFamily]
    MODEL_FAMILY_CAUSAL_LM: _ClassVar[ModelFamily]
MODEL_FAMILY_UNSPECIFIED: ModelFamily
MODEL_FAMILY_SD15: ModelFamily
MODEL_FAMILY_SDXL: ModelFamily
MODEL_FAMILY_CAUSAL_LM: ModelFamily
