# SPDX-License-Identifier: BSD-3-Clause
"""
Raw iSCSI PDUs (RFC 7143) over a TCP socket: what a test needs to say exactly
what it means, right or wrong. Nothing is repaired, nothing is hidden.

Pdu is one PDU. Connection sends and receives them, and holds the target to
the rules that every answer has to keep: StatSN, the command window, padding
and digests. Initiator (iscsi_initiator.py) knows login and SCSI.
"""

import socket
import struct
import time

NOP_OUT, SCSI_COMMAND, TMF_REQUEST, LOGIN_REQUEST = 0x00, 0x01, 0x02, 0x03
TEXT_REQUEST, DATA_OUT, LOGOUT_REQUEST, SNACK = 0x04, 0x05, 0x06, 0x10
NOP_IN, SCSI_RESPONSE, TMF_RESPONSE, LOGIN_RESPONSE = 0x20, 0x21, 0x22, 0x23
TEXT_RESPONSE, DATA_IN, LOGOUT_RESPONSE, R2T = 0x24, 0x25, 0x26, 0x31
ASYNC_MESSAGE, REJECT = 0x32, 0x3f

IMMEDIATE = 0x40
RESERVED_TAG = 0xffffffff
BHS_LEN = 48
TIMEOUT = 20.0          # an answer that takes longer counts as none

FINAL = 0x80
CONTINUE = 0x40
READ = 0x40
WRITE = 0x20
SIMPLE = 1

# Residual flags (11.4.1).
OVERFLOW = 0x04
UNDERFLOW = 0x02
STATUS = 0x01           # Data-In: S

# Reject reasons (11.17.1).
REJECT_DATA_DIGEST = 0x02
REJECT_SNACK = 0x03
REJECT_PROTOCOL = 0x04
REJECT_NOT_SUPPORTED = 0x05
REJECT_IMMEDIATE = 0x06
REJECT_IN_PROGRESS = 0x07
REJECT_INVALID_FIELD = 0x09

# Answers that a StatSN is used up for (11.2.1 and each PDU's section).
WITH_STATSN = {SCSI_RESPONSE, TMF_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE,
               LOGOUT_RESPONSE, ASYNC_MESSAGE, REJECT}
TARGET_OPCODES = WITH_STATSN | {NOP_IN, DATA_IN, R2T}


class Closed(Exception):
    """The target has closed the connection."""


class NoAnswer(Exception):
    """Nothing came in time."""


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ 0x82f63b78 if n & 1 else n >> 1
        table.append(n)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def digest(data):
    """As it stands on the wire (13.1)."""
    return struct.pack('<I', crc32c(data))


def pad(data):
    return bytes(data) + bytes(-len(data) % 4)


class Pdu:
    """A basic header with named fields, additional headers, and data."""

    # name: (offset, struct format)
    FIELDS = {
        'itt': (16, '>I'), 'ttt': (20, '>I'), 'edtl': (20, '>I'),
        'cmdsn': (24, '>I'), 'statsn': (24, '>I'),
        'expstatsn': (28, '>I'), 'expcmdsn': (28, '>I'),
        'maxcmdsn': (32, '>I'), 'refcmdsn': (32, '>I'),
        'datasn': (36, '>I'), 'r2tsn': (36, '>I'), 'expdatasn': (36, '>I'),
        'offset': (40, '>I'), 'residual': (44, '>I'), 'desired': (44, '>I'),
        'lun': (8, '>Q'), 'response': (2, 'B'), 'status': (3, 'B'),
        'ahs_words': (4, 'B'), 'tsih': (14, '>H'), 'cid': (20, '>H'),
        'status_class': (36, 'B'), 'status_detail': (37, 'B'),
        'version_max': (2, 'B'), 'version_min': (3, 'B'),
        'login_status': (36, '>H'), 'time2wait': (40, '>H'),
        'async_event': (36, 'B'), 'parameter1': (38, '>H'),
        'parameter2': (40, '>H'), 'parameter3': (42, '>H'),
    }

    def __init__(self, opcode=0, flags=0, data=b'', ahs=b'', **fields):
        self.bhs = bytearray(BHS_LEN)
        self.bhs[0] = opcode
        self.bhs[1] = flags
        self.ahs = bytes(ahs)
        self.data = bytes(data)
        self.dsl = None         # DataSegmentLength to lie about
        for name, value in fields.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        if name in Pdu.FIELDS:
            offset, fmt = Pdu.FIELDS[name]
            return struct.unpack_from(fmt, self.bhs, offset)[0]
        raise AttributeError(name)

    def __setattr__(self, name, value):
        if name in Pdu.FIELDS:
            offset, fmt = Pdu.FIELDS[name]
            struct.pack_into(fmt, self.bhs, offset, value)
        else:
            object.__setattr__(self, name, value)

    @property
    def opcode(self):
        return self.bhs[0] & 0x3f

    @property
    def flags(self):
        return self.bhs[1]

    @flags.setter
    def flags(self, value):
        self.bhs[1] = value

    @property
    def final(self):
        return bool(self.bhs[1] & FINAL)

    @property
    def isid(self):
        return bytes(self.bhs[8:14])

    @isid.setter
    def isid(self, value):
        self.bhs[8:14] = value

    @property
    def cdb(self):
        return bytes(self.bhs[32:48])

    @cdb.setter
    def cdb(self, value):
        value = bytes(value)
        self.bhs[32:48] = value[:16] + bytes(16 - len(value[:16]))

    def pack(self, header_digest=False, data_digest=False):
        bhs = bytearray(self.bhs)
        if self.ahs and bhs[4] == 0:
            bhs[4] = len(self.ahs) // 4
        length = len(self.data) if self.dsl is None else self.dsl
        bhs[5:8] = length.to_bytes(3, 'big')
        out = bytes(bhs) + self.ahs
        if header_digest:
            out += digest(out)
        if self.data:
            out += pad(self.data)
            if data_digest:
                out += digest(pad(self.data))
        return out

    def __repr__(self):
        return 'Pdu(op=%02x flags=%02x itt=%08x bhs=%s data=%d)' % (
            self.opcode, self.flags, self.itt, self.bhs.hex(),
            len(self.data))


class Connection:
    """One TCP connection; what comes back is checked, then handed out."""

    def __init__(self, address, timeout=TIMEOUT, rcvbuf=None):
        family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.header_digest = self.data_digest = False
        self.inbuf = bytearray()
        self.statsn = None      # the next that the target will use
        self.expcmdsn = self.maxcmdsn = None
        self.max_recv = 8192    # what we declared

    # ---- Out.

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed() from e

    def send(self, pdu):
        self.send_raw(pdu.pack(self.header_digest, self.data_digest))

    # ---- In.

    def _fill(self, want, deadline):
        while len(self.inbuf) < want:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer()
            self.sock.settimeout(left)
            try:
                piece = self.sock.recv(1 << 18)
            except socket.timeout as e:
                raise NoAnswer() from e
            except (ConnectionResetError, BrokenPipeError) as e:
                raise Closed() from e
            if not piece:
                raise Closed()
            self.inbuf += piece

    def recv(self, timeout=None):
        """The next PDU, or Closed, or NoAnswer."""
        deadline = time.monotonic() + (
            self.timeout if timeout is None else timeout)
        self._fill(BHS_LEN, deadline)
        ahs_len = self.inbuf[4] * 4
        data_len = int.from_bytes(self.inbuf[5:8], 'big')
        head = BHS_LEN + ahs_len
        hd = 4 if self.header_digest else 0
        padded = (data_len + 3) & ~3
        dd = 4 if self.data_digest and data_len else 0
        total = head + hd + padded + dd
        assert data_len <= self.max_recv, \
            'data segment of %d, we declared %d' % (data_len, self.max_recv)
        self._fill(total, deadline)
        raw = bytes(self.inbuf[:total])
        del self.inbuf[:total]

        pdu = Pdu(data=raw[head + hd:head + hd + data_len],
                  ahs=raw[BHS_LEN:head])
        pdu.bhs = bytearray(raw[:BHS_LEN])
        if hd:
            assert raw[head:head + 4] == digest(raw[:head]), 'header digest'
        segment = raw[head + hd:head + hd + padded]
        assert not any(segment[data_len:]), 'padding is not zero'
        if dd:
            assert raw[-4:] == digest(segment), 'data digest'
        self._check(pdu)
        return pdu

    def _check(self, pdu):
        assert pdu.opcode in TARGET_OPCODES, pdu
        assert not pdu.ahs, 'a target sends no additional headers'
        with_status = pdu.opcode in WITH_STATSN or \
            (pdu.opcode == NOP_IN and pdu.itt != RESERVED_TAG) or \
            (pdu.opcode == DATA_IN and pdu.flags & STATUS)
        if with_status or pdu.opcode != DATA_IN:
            if self.statsn is not None:
                assert pdu.statsn == self.statsn, \
                    'StatSN %d, not %d' % (pdu.statsn, self.statsn)
            self.statsn = pdu.statsn
        if with_status:
            self.statsn = pdu.statsn + 1 & 0xffffffff
        # 4.2.2.1: never backwards; the window may be shut by one.
        if pdu.opcode == LOGIN_RESPONSE and pdu.status_class:
            return
        if self.expcmdsn is not None:
            assert pdu.expcmdsn - self.expcmdsn & 0xffffffff < 1 << 31, pdu
            assert pdu.maxcmdsn - self.maxcmdsn & 0xffffffff < 1 << 31, pdu
        self.expcmdsn, self.maxcmdsn = pdu.expcmdsn, pdu.maxcmdsn
        assert pdu.maxcmdsn - pdu.expcmdsn + 1 & 0xffffffff < 1 << 31, pdu

    def expect(self, opcode, timeout=None):
        pdu = self.recv(timeout)
        assert pdu.opcode == opcode, 'wanted %02x: %r' % (opcode, pdu)
        return pdu

    def expect_closed(self, timeout=None):
        """The target closes; what it still says is returned."""
        said = []
        while True:
            try:
                said.append(self.recv(timeout))
            except Closed:
                return said

    def expect_silence(self, seconds):
        try:
            pdu = self.recv(seconds)
        except NoAnswer:
            return
        raise AssertionError('unexpected %r' % pdu)

    def reset(self):
        """Ends with a TCP RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack('ii', 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


# ---- Text (6.1).

def text(pairs):
    """b'key=value\\0...' of a dict or a list of pairs."""
    if isinstance(pairs, dict):
        pairs = [(k, v) for k, v in pairs.items() if v is not None]
    return b''.join(('%s=%s' % (k, v)).encode() + b'\0' for k, v in pairs)


def pairs_of(data):
    """Back to a list of pairs; complains about what is not text."""
    assert not data or data.endswith(b'\0'), data[-40:]
    out = []
    for piece in data.split(b'\0'):
        if not piece:
            continue
        assert all(0x20 <= b < 0x7f or b >= 0x80 for b in piece), piece
        key, equals, value = piece.decode().partition('=')
        assert equals and 0 < len(key) <= 63, piece
        out.append((key, value))
    return out


# ---- Sense (SPC-4, 4.5.3).

class Sense:
    def __init__(self, segment):
        length = struct.unpack_from('>H', segment)[0]
        assert length <= len(segment) - 2
        self.raw = segment[2:2 + length]
        assert len(self.raw) >= 14 and self.raw[0] & 0x7f in (0x70, 0x71)
        self.key = self.raw[2] & 0x0f
        self.asc, self.ascq = self.raw[12], self.raw[13]
        self.code = self.asc << 8 | self.ascq
        # SKSV, C/D, BPV, bit pointer, field pointer
        self.field = None
        if len(self.raw) >= 18 and self.raw[15] & 0x80:
            self.field = struct.unpack_from('>H', self.raw, 16)[0]

    def __repr__(self):
        return 'Sense(%x, %04x)' % (self.key, self.code)


NO_SENSE, NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST = 0, 2, 3, 5
UNIT_ATTENTION, DATA_PROTECT, ABORTED_COMMAND = 6, 7, 0xb

GOOD, CHECK_CONDITION, BUSY = 0x00, 0x02, 0x08
RESERVATION_CONFLICT, TASK_SET_FULL, TASK_ABORTED = 0x18, 0x28, 0x40


# ---- CDBs.

def read10(lba, blocks):
    return struct.pack('>BBIBHB', 0x28, 0, lba, 0, blocks, 0)


def write10(lba, blocks, fua=False):
    return struct.pack('>BBIBHB', 0x2a, 8 if fua else 0, lba, 0, blocks, 0)


def read16(lba, blocks):
    return struct.pack('>BBQIBB', 0x88, 0, lba, blocks, 0, 0)


def write16(lba, blocks):
    return struct.pack('>BBQIBB', 0x8a, 0, lba, blocks, 0, 0)


def inquiry(length=96, page=None):
    return struct.pack('>BBBHB', 0x12, 0 if page is None else 1, page or 0,
                       length, 0)


def read_capacity16(length=32):
    return struct.pack('>BBQIBB', 0x9e, 0x10, 0, length, 0, 0)


def report_luns(length=4096):
    return struct.pack('>BBBBHIBB', 0xa0, 0, 0, 0, 0, length, 0, 0)


def lun_field(number):
    """LUNs 0..255, peripheral device addressing (SAM-5, 4.7.7.2)."""
    return number << 48


TEST_UNIT_READY = bytes(6)
