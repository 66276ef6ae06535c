"""Serializer of the reviews of outputs, as `schemas.views.reviews` documents them."""

from typing import Any

from jobs.review import Review


def serialize_review(review: Review) -> dict[str, Any]:
    """Return the review of an output as `schemas.views.reviews.ReviewView` documents it."""
    return {
        "output": review.output,
        "verdict": review.verdict and review.verdict.value,
        "starred": review.starred,
        "note": review.note,
        "by": review.by,
        "at": review.at.isoformat(),
    }
