"""A stored image."""

from marshmallow import Schema, fields, validate

from schemas.views.fields import described

EXAMPLE_IMAGE = "image:sha256:" + "9f86d081884c7d65" * 4


class ImageView(Schema):
    """A stored image."""

    id = fields.String(
        required=True,
        metadata=described("Reference to the image, for use in requests.", EXAMPLE_IMAGE),
    )
    size = fields.Integer(required=True, metadata=described("Size in bytes.", 8_123_456))
    width = fields.Integer(required=True, metadata=described("Width in pixels.", 2048))
    height = fields.Integer(required=True, metadata=described("Height in pixels.", 1365))
    format = fields.String(
        required=True, validate=validate.OneOf(("png", "jpeg")), metadata=described("png or jpeg.", "jpeg")
    )
