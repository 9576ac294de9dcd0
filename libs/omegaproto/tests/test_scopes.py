"""The scope table: every operation with every role, and the decision over grants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omegaproto.errors import Forbidden
from omegaproto.messages import REQUESTS
from omegaproto.scopes import (
    ANY_BUCKET,
    OPERATIONS,
    RANK,
    READING_ACTIONS,
    WRITING_ACTIONS,
    Principal,
    Role,
    action_operation,
    allows,
    authorize,
)

READER = {"object.read", "object.list", "blob.read", "frame.read", "bucket.list", "runtime.read", "task.read"}
RUNNER = READER | {"blob.write", "task.submit", "task.cancel", "model.predict"}
WRITER = RUNNER | {"object.write", "object.drop", "frame.write", "model.fit"}
ADMIN = WRITER | {"user.manage"}
MAY: dict[Role, set[str]] = {
    Role.reader: READER,
    Role.runner: RUNNER,
    Role.writer: WRITER,
    Role.admin: ADMIN,
    Role.worker: {"worker.tasks"},
    Role.service: set(OPERATIONS),
}
"""What each role may do, written out by hand: the table may not change by accident."""

roles = st.sampled_from(list(Role))
buckets = st.sampled_from(["omegaml", "sales", "ops"])


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("role", list(Role))
def test_every_operation_with_every_role(role: Role, operation: str) -> None:
    assert allows(role, operation) is (operation in MAY[role])


@pytest.mark.parametrize("role", [None, *Role])
def test_an_operation_outside_the_table_is_allowed_to_nobody(role: Role | None) -> None:
    assert not allows(role, "object.invent")


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_nobody_is_allowed_nothing(operation: str) -> None:
    assert not allows(None, operation)
    with pytest.raises(Forbidden, match="nobody"):
        authorize(Principal(userid="ann"), "omegaml", operation)


def test_every_bus_request_names_an_operation_of_the_table() -> None:
    import omegaproto.blobs
    import omegaproto.objects
    import omegaproto.predictions
    import omegaproto.tasks
    import omegaproto.users  # noqa: F401 - importing them registers their requests

    of_the_mesh = {name: request for name, request in REQUESTS.items() if request.__module__.startswith("omegaproto.")}
    assert len(of_the_mesh) > 20
    assert {name for name, request in of_the_mesh.items() if request.operation not in OPERATIONS} == set()


@given(st.sampled_from(sorted(RANK, key=RANK.__getitem__)), st.sampled_from(sorted(OPERATIONS)))
def test_a_higher_role_may_do_what_a_lower_one_may(role: Role, operation: str) -> None:
    higher = [other for other in RANK if RANK[other] >= RANK[role]]
    assert not allows(role, operation) or all(allows(other, operation) for other in higher)


@given(st.dictionaries(buckets, roles), buckets, st.sampled_from(sorted(OPERATIONS)))
def test_a_grant_reaches_its_own_bucket_only(grants: dict[str, Role], bucket: str, operation: str) -> None:
    principal = Principal(userid="ann", grants=grants)
    if bucket in grants and allows(grants[bucket], operation):
        authorize(principal, bucket, operation)
    else:
        with pytest.raises(Forbidden) as refusal:
            authorize(principal, bucket, operation)
        assert refusal.value.details == {"bucket": bucket, "operation": operation}


@given(st.dictionaries(buckets, roles), roles, buckets)
def test_the_grant_that_names_a_bucket_wins_over_the_one_for_all(
    grants: dict[str, Role], everywhere: Role, bucket: str
) -> None:
    principal = Principal(userid="ann", grants=grants | {ANY_BUCKET: everywhere})
    assert principal.role_in(bucket) is grants.get(bucket, everywhere)


@given(st.dictionaries(st.sampled_from(["omegaml", "sales", ANY_BUCKET]), roles), buckets, buckets)
def test_a_narrowed_principal_keeps_one_bucket_and_gains_nothing(
    grants: dict[str, Role], bucket: str, other: str
) -> None:
    principal = Principal(userid="ann", grants=grants)
    narrowed = principal.narrowed(bucket)
    assert narrowed.role_in(bucket) is principal.role_in(bucket)
    assert other == bucket or narrowed.role_in(other) is None


def test_actions_that_make_a_revision_need_a_writer() -> None:
    assert {action_operation(action) for action in WRITING_ACTIONS} == {"model.fit"}
    assert {action_operation(action) for action in READING_ACTIONS} == {"model.predict"}
