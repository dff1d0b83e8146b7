"""Whom an account has written to is told to its classifier, and to no other account's."""

import asyncio

import pytest

from echomox.delivery.acquaintance import EVIDENCE, acquainted, author
from echomox.delivery.incoming import Destination, Incoming
from echomox.delivery.judging import Judging
from echomox.delivery.local import LocalDelivery
from echomox.store.engine import StoreError
from tests.unit.delivery.test_local import SOURCE, Classifiers, Host, Store


@pytest.mark.parametrize(
    "header, expected",
    [
        (b"From: Ann <Ann@Example.ORG>\r\n\r\n", "ann@example.org"),
        ("From: a@b\u00fccher.example\r\n\r\n".encode(), "a@xn--bcher-kva.example"),
        (b"From: x@one.example, y@two.example\r\n\r\n", "x@one.example"),
        (b"From: nobody\r\nSubject: a@b.example\r\n\r\n", ""),
        (b"Subject: x\r\n\r\n", ""),
        (b"From: " + b"(" * 5000 + b"@" * 5000 + b"\r\n\r\n", ""),
    ],
)
def test_the_author_in_the_form_in_which_the_store_compares(header, expected):
    assert author(header) == expected


def test_trouble_of_the_store_makes_a_stranger():
    class Broken:
        def open(self, account):
            raise StoreError("no")

    assert not acquainted(Broken(), "mjl", "a@b.example")
    assert not acquainted(Broken(), "mjl", "")


def test_each_account_is_judged_by_its_own_acquaintances(tmp_path):
    host, store = Host(tmp_path), Store()
    store.written_to.add(("mjl", "a@b.example"))
    classifiers = Classifiers({"mjl": 0.1, "rest": 0.1})
    mail = Incoming(
        id="cid-1", cid="cid", source=SOURCE, spool="", read=lambda: SOURCE, size=len(SOURCE), mail_from="x@y.example",
        destinations=[Destination(name, f"{name}@example.org") for name in ("mjl", "rest")],
        helo="client.example", remote_ip="192.0.2.1", protocol="ESMTPS", tls="TLSv1.3 X", received=1e9,
    )  # fmt: skip

    async def run():
        delivery = LocalDelivery(host, store, store, Judging(host, store, classifiers))
        await delivery.deliver(mail)
        delivery.close()

    asyncio.run(run())
    assert {one.accounts: one.auth for one in classifiers.asked} == {("mjl",): (EVIDENCE,), ("rest",): ()}
