# SPDX-License-Identifier: BSD-3-Clause
"""
Hostile peers before and during login. Beside each test a healthy session
works that must not notice, and in the end all memory and descriptors are back.
"""

import random

import pytest

from daemon import RpcError, basic, iqn, sanitized
from iscsi_initiator import (FULL_FEATURE, OPERATIONAL, OPERATIONAL_KEYS,
                             SECURITY, Initiator)
from iscsi_wire import (FINAL, IMMEDIATE, LOGIN_RESPONSE, REJECT,
                        RESERVED_TAG, TEXT_RESPONSE, Closed, Connection,
                        NoAnswer, Pdu, pairs_of, text)
from witness import Witness

TARGET = {'calls': basic(options={'max_sessions': 64, 'login_timeout': 5})}
GROWTH_MAX = 4 << 20    # bytes: allocators keep some


@pytest.fixture(autouse=True)
def beside(tgt):
    """The healthy session, and the books that have to balance."""
    tgt.quiet()
    with Witness(tgt, iqn(), lba=8192):
        tgt.quiet(1)
        fds, memory = tgt.fds(), tgt.resident()
        yield
        tgt.alive()
        tgt.quiet(1)
        assert tgt.fds() == fds, 'descriptors are left'
        if not sanitized():
            assert tgt.resident() < memory + GROWTH_MAX
    tgt.quiet()


def poke(address, data, how='close'):
    """Sends, takes what comes, ends. Answers have to be well-formed."""
    c = Connection(address, timeout=10)
    try:
        c.send_raw(data)
        if how == 'reset':
            c.reset()
            return []
        if how == 'shut':
            c.sock.shutdown(1)
        return c.expect_closed(10) if how == 'shut' else []
    except Closed:
        return []
    finally:
        c.close()


@pytest.mark.parametrize('how', ['close', 'reset', 'shut'])
def test_t01_every_opcode_first(tgt, how):
    """No other PDU than a Login Request begins a connection."""
    for opcode in range(0x40):
        for immediate in (0, IMMEDIATE):
            pdu = Pdu(opcode | immediate, FINAL, b'x' * 64, itt=1,
                      ttt=RESERVED_TAG)
            for answer in poke(tgt.address, pdu.pack(), how):
                assert answer.opcode in (LOGIN_RESPONSE, REJECT)
                if opcode != 3:
                    assert answer.opcode == REJECT or answer.status_class


def test_t01_cut_off_at_each_point(tgt):
    """A login of which only the first n bytes come, closed and reset."""
    s = Initiator(tgt.address, iqn())
    raw = s.login_pdu(text(s.names()), SECURITY, OPERATIONAL).pack()
    s.close()
    for n in range(0, len(raw), 5):
        poke(tgt.address, raw[:n], 'close')
        poke(tgt.address, raw[:n], 'reset')


@pytest.mark.parametrize('opcode', range(0x40))
def test_t02_no_data_with_every_flag(tgt, opcode):
    """Zero-length data, F and C in all mixtures, before and after login."""
    for flags in (0, 0x40, 0x80, 0xc0, 0xff):
        poke(tgt.address, Pdu(opcode, flags).pack(), 'shut')
    s = Initiator(tgt.address, iqn())
    s.login()
    try:
        for flags in (0, 0x40, 0x80, 0xc0):
            s.send(Pdu(opcode | IMMEDIATE, flags, itt=0x100 + flags,
                       ttt=RESERVED_TAG, cmdsn=s.cmdsn,
                       expstatsn=s.statsn))
        s.request(0, FINAL, immediate=True, itt=0x999)
        while s.recv(5).itt != 0x999:
            pass
    except Closed:
        pass
    s.close()


def test_t04_every_additional_header_length(tgt):
    """TotalAHSLength of 0 to 255 words, before login and after."""
    for words in range(256):
        s = Connection(tgt.address, timeout=10)
        pdu = Pdu(3 | IMMEDIATE, FINAL | 1, ahs=bytes(words * 4), itt=1)
        s.send(pdu)
        for answer in s.expect_closed():
            assert answer.opcode == LOGIN_RESPONSE
            assert answer.status_class == 2
        s.close()


@pytest.mark.parametrize('opcode', [0, 1, 2, 4, 5, 6, 0x10, 0x1c])
def test_t04_additional_headers_in_a_session(tgt, opcode):
    s = Initiator(tgt.address, iqn())
    s.login()
    s.clear_attention()
    for words in (1, 2, 3, 64, 254, 255):
        for fill in (b'\0', b'\xff', b'\1'):
            s.send(Pdu(opcode | IMMEDIATE, FINAL, ahs=fill * words * 4,
                       itt=words << 8 | fill[0], ttt=RESERVED_TAG,
                       cmdsn=s.cmdsn, expstatsn=s.statsn))
            try:
                s.ping(immediate=True)
            except Closed:
                s = Initiator(tgt.address, iqn())
                s.login()
            s.stash.clear()
    s.close()


def login_text(tgt, data, csg=OPERATIONAL):
    """What a login with this text comes to: a status, or None: dropped."""
    s = Initiator(tgt.address, iqn())
    try:
        s.send(s.login_pdu(data, csg, FULL_FEATURE))
        said = b''
        for _ in range(70):
            rsp = s.expect(LOGIN_RESPONSE)
            if rsp.login_status:
                s.expect_closed()
                return rsp.login_status
            said += rsp.data
            assert len(said) <= 65536, 'an answer without bound'
            if rsp.final:
                pairs_of(said)
                return 0
            s.send(s.login_pdu(b'', csg, FULL_FEATURE))
        return -1
    except Closed:
        return None
    finally:
        s.close()


def test_t06_long_keys(tgt):
    """6.1: 63 bytes at most."""
    for n in (1, 62, 63, 64, 65, 128, 255, 256, 4000, 7000):
        s = Initiator(tgt.address, iqn())
        data = text(s.names()) + b'X-' + b'k' * (n - 2 if n > 2 else 1) + \
            b'=v\0'
        s.close()
        status = login_text(tgt, data)
        assert (status == 0) == (n <= 63), (n, status)


def test_t06_long_values(tgt):
    for n in (0, 1, 254, 255, 256, 257, 4096, 8000):
        s = Initiator(tgt.address, iqn())
        data = text(s.names()) + b'X-k=' + b'v' * n + b'\0'
        s.close()
        status = login_text(tgt, data[:8192])
        assert status in (0, 0x0200)
        if n <= 255:
            assert status == 0


@pytest.mark.parametrize('pair', [b'a=b\0', b'a=\0', b'X-%d=\0', b'=\0',
                                  b'\0'])
def test_t07_answers_larger_than_questions(tgt, pair):
    """Thousands of tiny keys, each of which asks for a longer answer."""
    s = Initiator(tgt.address, iqn())
    names = text(s.names())
    s.close()
    data, i = names, 0
    while len(data) < 8180:
        data += pair.replace(b'%d', b'%d' % i)
        i += 1
    status = login_text(tgt, data[:8192].rsplit(b'\0', 1)[0] + b'\0')
    assert status in (0x0200, 0, None)
    if pair.strip(b'\0'):
        assert status == 0x0200


def test_t07_chain_of_tiny_keys(tgt):
    """The same over many requests with the C bit."""
    s = Initiator(tgt.address, iqn())
    try:
        for i in range(200):
            s.send(s.login_pdu(b'a=b\0' * 2000, OPERATIONAL, cont=True))
            rsp = s.expect(LOGIN_RESPONSE)
            if rsp.login_status:
                assert rsp.login_status in (0x0200, 0x0302)
                break
        else:
            pytest.fail('a login without an end')
    except Closed:
        pass
    s.expect_closed()
    s.close()


def test_t08_lengths_about_the_limit(tgt):
    """Text that ends without NUL, at and about 8192 bytes."""
    s = Initiator(tgt.address, iqn())
    names = text(s.names())
    s.close()
    for n in range(8184, 8193):
        for fill in (b'x', b'\0', b'=', b'a=b\0', b'\xff'):
            data = (names + fill * 8192)[:n]
            assert login_text(tgt, data) in (0, 0x0200, None), (n, fill)
            assert login_text(tgt, (fill * 8192)[:n]) in (
                0x0200, 0x0207, None)
    for n in (8193, 8194, 8195, 8196, 8200):
        assert login_text(tgt, (names + b'x' * 8192)[:n]) is None


@pytest.mark.parametrize('data', [
    b'\0', b'=', b'=\0', b'a', b'a\0', b'a=', b'InitiatorName\0',
    b'InitiatorName=\0', b'InitiatorName=iqn.x\0TargetName=\0',
    b'\0\0\0InitiatorName=a\0', b'InitiatorName=a\0\0\0\0TargetName=b\0',
    b'InitiatorName=' + b'a' * 300 + b'\0', b'\xff' * 48,
    b'InitiatorName=\x01\x02\x7f\0TargetName=%n%s\0'])
def test_t08_strange_text(tgt, data):
    assert login_text(tgt, data) not in (0, -1)


@pytest.mark.parametrize('length', [
    8193, 16384, 65535, 65536, 0x7fffff, 0x800000, 0xfffffe, 0xffffff])
def test_t09_segment_length_in_login(tgt, length):
    """A DataSegmentLength beyond 8192: closed before it comes."""
    s = Initiator(tgt.address, iqn())
    pdu = s.login_pdu(b'', SECURITY, OPERATIONAL)
    pdu.dsl = length
    s.send(pdu)
    for answer in s.expect_closed():
        assert answer.opcode in (LOGIN_RESPONSE, REJECT)
    s.close()


def test_t09_sum_over_a_chain(tgt):
    """The text of one login has an end, whatever its pieces."""
    s = Initiator(tgt.address, iqn())
    sent = 0
    try:
        while sent < 4 << 20:
            s.send(s.login_pdu(b'X-a=' + b'v' * 8000, OPERATIONAL,
                               cont=True))
            rsp = s.expect(LOGIN_RESPONSE)
            sent += 8004
            if rsp.login_status:
                break
    except Closed:
        pass
    assert sent <= 128 << 10, 'it keeps taking more'
    s.expect_closed()
    s.close()


def test_t14_every_short_header(tgt):
    """Each number of bytes of a header, then silence or the end."""
    for n in range(48):
        for how in ('close', 'shut', 'reset'):
            poke(tgt.address, b'\x43\x81' + bytes(46)[:max(0, n - 2)], how)


def test_t14_half_a_segment(tgt):
    s = Initiator(tgt.address, iqn())
    raw = s.login_pdu(text(s.names()), SECURITY, OPERATIONAL).pack()
    s.close()
    for cut in (48, 49, 51, len(raw) - 4, len(raw) - 1):
        c = Connection(tgt.address)
        c.send_raw(raw[:cut])
        with pytest.raises(NoAnswer):
            c.recv(0.05)
        c.sock.shutdown(1)
        assert not c.expect_closed()
        c.close()


def test_random_headers(tgt):
    """Noise, from a seed; the opcode is one that passes the first door."""
    r = random.Random(14)
    for i in range(400):
        raw = bytearray(r.randbytes(48))
        raw[0] = 0x43 if i % 4 else raw[0]
        if i % 2:
            raw[4] = 0
            raw[5:8] = r.randrange(300).to_bytes(3, 'big')
        poke(tgt.address, bytes(raw) + r.randbytes(r.randrange(400)),
             r.choice(('close', 'reset')))


def test_random_changes_of_a_good_login(tgt):
    r = random.Random(15)
    s = Initiator(tgt.address, iqn())
    raw = s.login_pdu(text(s.names()) + text(OPERATIONAL_KEYS),
                      OPERATIONAL, FULL_FEATURE).pack()
    s.close()
    for _ in range(400):
        bad = bytearray(raw)
        for _ in range(r.randrange(1, 6)):
            bad[r.randrange(len(bad))] = r.randrange(256)
        poke(tgt.address, bytes(bad), r.choice(('close', 'reset')))


def test_half_open_logins(tgt):
    """Many that never go on: those who come to work get in meanwhile."""
    idle = [Connection(tgt.address) for _ in range(100)]
    s = Initiator(tgt.address, iqn())
    s.login()
    s.clear_attention()
    s.logout()
    for c in idle:
        c.expect_closed(15)
        c.close()


def test_more_connections_than_there_may_be(tgt):
    """Beyond the bound they are turned away; the bound is not for ever."""
    crowd = []
    for _ in range(400):
        try:
            crowd.append(Connection(tgt.address))
        except OSError:
            break
    assert len(tgt.connections()) <= 64 + 256
    for c in crowd:
        c.close()
    tgt.quiet(1)
    s = Initiator(tgt.address, iqn())
    s.login()
    s.logout()


def test_t26_names_are_clean(tgt):
    """What it says to initiators has no control characters in it."""
    s = Initiator(tgt.address, iqn())
    s.login(discovery=True)
    s.request(4, FINAL, text([('SendTargets', 'All')]))
    rsp = s.expect(TEXT_RESPONSE)
    for byte in rsp.data:
        assert byte == 0 or 0x20 < byte < 0x7f
    s.close()


@pytest.mark.parametrize('name', ['a\nb', 'a\x01b', 'a b', 'a\x7fb',
                                  'x' * 300, 'a,b', 'a/b'])
def test_t26_names_are_checked(tgt, name):
    with pytest.raises(RpcError):
        tgt.rpc('iscsi_create_target_node', name=name, alias_name='',
                pg_ig_maps=[{'pg_tag': 1, 'ig_tag': 1}],
                luns=[{'bdev_name': 'Malloc0', 'lun_id': 0}],
                queue_depth=16)
