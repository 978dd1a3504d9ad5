"""A front-end in Python, on stubs that grpcio-tools generates from the project's protos.

Usage: client.py PROTO_DIR STUB_DIR ADDRESS...

Every node of the cluster gets its part of the calls, so that a follower has to forward some.
"""

import importlib
import pathlib
import sys
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_tools import protoc
from google.protobuf.descriptor_pool import DescriptorPool

WITHIN = 10


def generate(protos, stubs):
    """Generates the stubs and imports them."""
    files = [str(file.relative_to(protos)) for file in sorted(protos.rglob("*.proto"))]
    arguments = ["protoc", f"-I{protos}", f"--python_out={stubs}", f"--grpc_python_out={stubs}"]
    assert protoc.main(arguments + files) == 0, "the protos do not compile"
    sys.path.insert(0, str(stubs))
    load = importlib.import_module
    return load("preau.v1.lease_pb2"), load("preau.v1.lease_pb2_grpc")


def expect(code, part, call, request):
    """Makes a call that must fail."""
    try:
        answer = call(request, timeout=WITHIN)
    except grpc.RpcError as error:
        assert error.code() == code, error
        assert part in error.details(), error.details()
        assert any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata()), error
        return
    raise AssertionError(f"{code} was expected, and came {answer}")


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", "preau.v1.LeaseService"]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=WITHIN)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, (service, answer)


def reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {"preau.v1.LeaseService", "preau.v1.BudgetService", "grpc.health.v1.Health"} <= services
    service = DescriptorPool(database).FindServiceByName("preau.v1.LeaseService")
    calls = {"Lease", "Renew", "Report", "Return", "LeaseBatch", "Hold", "Inspect"}
    assert calls == set(service.methods_by_name)
    assert service.methods_by_name["Renew"].input_type.fields_by_name["kept"].number == 3


def leases(pb, stubs):
    """A lease's life, over all nodes in turn."""
    epoch = int(time.time() * 1000)

    def take(stub, holder, region, seq, wanted, epoch=epoch):
        request = pb.LeaseRequest(
            pool="ent", region=region, holder=holder, epoch=epoch, seq=seq, wanted=wanted
        )
        return stub.Lease(request, timeout=WITHIN).grant

    first, second, third = (stubs[i % len(stubs)] for i in range(3))
    portal = take(first, "portal-7", "normandie", 1, 1000)
    assert portal.slots == 120, portal
    assert (portal.ttl_ms, portal.drift_ppm) == (30_000, 10_000), portal

    # A retry, on another node: one effect, the same answer.
    again = take(second, "portal-7", "normandie", 1, 1000)
    assert (again.lease_id, again.slots) == (portal.lease_id, 120), again

    # The owner wants its share back: it has to wait until the borrower confirms.
    owner = take(third, "portal-9", "bretagne", 1, 30)
    assert (owner.slots, owner.target) == (0, 30), owner
    renew = pb.RenewRequest(lease_id=portal.lease_id, seq=2, kept=120, wanted=1000)
    held = first.Renew(renew, timeout=WITHIN).grant
    assert (held.slots, held.target) == (120, 90), held
    renew = pb.RenewRequest(lease_id=portal.lease_id, seq=3, kept=90, wanted=1000)
    assert second.Renew(renew, timeout=WITHIN).grant.slots == 90
    renew = pb.RenewRequest(lease_id=owner.lease_id, seq=2, kept=0, wanted=30)
    assert third.Renew(renew, timeout=WITHIN).grant.slots == 30

    pool = first.Inspect(pb.InspectRequest(pool="ent"), timeout=WITHIN)
    assert (pool.pool.held, pool.pool.capacity) == (120, 120), pool
    assert [(region.name, region.held) for region in pool.regions] == [
        ("bretagne", 30),
        ("normandie", 90),
    ], pool

    # What can't be is refused by name, and changes nothing.
    bad = pb.RenewRequest(lease_id=owner.lease_id, seq=3, kept=31, wanted=30)
    expect(grpc.StatusCode.INVALID_ARGUMENT, "kept", first.Renew, bad)
    bad = pb.LeaseRequest(pool="nope", region="x", holder="h", epoch=1, seq=1)
    expect(grpc.StatusCode.NOT_FOUND, "nope", second.Lease, bad)
    assert first.Inspect(pb.InspectRequest(pool="ent"), timeout=WITHIN).pool.held == 120

    # The stream: a renewal of one and the return of the other.
    requests = [
        pb.HoldRequest(
            tag=5,
            renew=pb.RenewRequest(lease_id=portal.lease_id, seq=4, kept=90, wanted=1000),
        ),
        pb.HoldRequest(
            tag=6, **{"return": pb.ReturnRequest(lease_id=owner.lease_id, seq=3)}
        ),
    ]
    answers = {}
    for response in third.Hold(iter(requests), timeout=WITHIN):
        if response.tag:
            answers[response.tag] = response
    assert answers[5].grant.slots >= 90, answers
    assert answers[6].returned.returned == 30, answers

    give_back = pb.ReturnRequest(lease_id=portal.lease_id, seq=5)
    assert second.Return(give_back, timeout=WITHIN).returned >= 90
    # A late retry still gets its answer, and a new request is told that the lease is over.
    assert third.Return(give_back, timeout=WITHIN).returned >= 90
    late = pb.RenewRequest(lease_id=portal.lease_id, seq=6, kept=0, wanted=0)
    expect(grpc.StatusCode.FAILED_PRECONDITION, str(portal.lease_id), first.Renew, late)

    # The same two in one call: each is answered by itself.
    batch = pb.LeaseBatchRequest(
        requests=[
            pb.HoldRequest(tag=7, **{"return": give_back}),
            pb.HoldRequest(tag=8, renew=late),
        ]
    )
    returned, failed = second.LeaseBatch(batch, timeout=WITHIN).responses
    assert returned.tag == 7 and returned.returned.returned >= 90, returned
    assert failed.tag == 8 and failed.failure.reason == "LEASE_ENDED", failed


def reports(pb, stubs):
    """Pupils who wait at two front-ends, and are seated in the order in which they came."""
    epoch = int(time.time() * 1000)
    first, second, third = (stubs[i % len(stubs)] for i in range(3))

    def take(stub, holder):
        request = pb.LeaseRequest(
            pool="ent", region="normandie", holder=holder, epoch=epoch, seq=1
        )
        return stub.Lease(request, timeout=WITHIN).grant.lease_id

    def report(stub, lease_id, seq, seated, waiting=(), left=0, revision=0):
        buckets = [pb.Bucket(second=second, users=users) for second, users in waiting]
        request = pb.ReportRequest(
            lease_id=lease_id,
            seq=seq,
            kept=seated,
            in_use=seated,
            waiting=[pb.Waiting(**{"class": "everyone", "buckets": buckets})],
            exact_until_s=2**32 - 1,
            left=left,
            rules_revision=revision,
        )
        return stub.Report(request, timeout=WITHIN)

    early, late = take(first, "early"), take(second, "late")
    full = report(third, early, 2, 0, [(1, 120)])
    assert full.open and full.grant.slots == 120, full
    assert sum(admission.users for admission in full.admissions) == 120, full
    assert [known.name for known in full.rules.classes] == ["everyone"], full

    # All is full: three come here in the second 5, and two there in the second 4.
    report(first, early, 3, 120, [(5, 3)])
    told = report(second, late, 2, 0, [(4, 2)], revision=full.rules_revision)
    assert not told.open and not told.admissions and not told.HasField("rules"), told
    assert told.others_wait, told
    assert told.mode == pb.MODE_OPEN, told

    # Three sessions end here. Two of the slots go there, to those who came before.
    told = report(third, early, 4, 117, [(5, 3)], left=3)
    assert [(a.users, a.until_s) for a in told.admissions] == [(1, 5)], told
    told = report(third, late, 3, 0, [(4, 2)])
    assert [(a.users, a.until_s) for a in told.admissions] == [(2, 4)], told
    again = report(first, late, 3, 0, [(4, 2)])
    assert again.admissions == told.admissions and again.grant == told.grant, again

    bad = pb.ReportRequest(lease_id=late, seq=4, waiting=[pb.Waiting(**{"class": "pupils"})])
    expect(grpc.StatusCode.INVALID_ARGUMENT, "pupils", second.Report, bad)
    renew = pb.RenewRequest(lease_id=late, seq=5)
    expect(grpc.StatusCode.FAILED_PRECONDITION, "reports", second.Renew, renew)
    for lease_id in [early, late]:
        first.Return(pb.ReturnRequest(lease_id=lease_id, seq=6), timeout=WITHIN)


def main(protos, stubs, *addresses):
    pb, pb_grpc = generate(pathlib.Path(protos), pathlib.Path(stubs))
    channels = [grpc.insecure_channel(address) for address in addresses]
    for channel in channels:
        grpc.channel_ready_future(channel).result(timeout=WITHIN)
        health(channel)
        reflection(channel)
    stubs = [pb_grpc.LeaseServiceStub(channel) for channel in channels]
    leases(pb, stubs)
    reports(pb, stubs)
    print("health, reflection, a lease's life, and a queue: as promised")


if __name__ == "__main__":
    main(*sys.argv[1:])
