"""What the OpenAPI description says is what happens: requests made of it, sound ones and unsound ones."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis import checks as known

CHECKS: list[Any] = [
    known.not_a_server_error,
    known.status_code_conformance,
    known.content_type_conformance,
    known.response_schema_conformance,
]
HERE = {"host": "127.0.0.1"}
LABELS = (
    "GET /api/gallery",
    "GET /api/sightings",
    "GET /api/sightings/{number}/thumbnail",
    "GET /api/sightings/{number}/picture",
    "GET /api/sightings/{number}/maps",
    "POST /api/search",
    "POST /api/session",
    "DELETE /api/session",
)


@pytest.fixture(scope="session")
def described(app: FastAPI) -> dict[str, Any]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HERE)
    found: list[Any] = list(schema.get_all_operations())
    return {operation.ok().label: operation.ok() for operation in found}


def test_every_address_is_described(described: dict[str, Any]) -> None:
    assert sorted(described) == sorted(LABELS)


@pytest.mark.parametrize("examples", [10, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("label", LABELS)
def test_answers_are_as_described(described: dict[str, Any], label: str, examples: int) -> None:
    kinds = [described[label].as_strategy(generation_mode=mode) for mode in GenerationMode]

    @settings(deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(kinds))
    def check(case: Any) -> None:
        case.validate_response(case.call(headers=HERE), checks=CHECKS)

    check()
