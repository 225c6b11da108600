# SPDX-License-Identifier: BSD-3-Clause
"""JSON-RPC on the real socket, and scripts/rpc.py in all of its forms."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from daemon import (RPC_PY, Rpc, RpcError, basic, config_of, free_port, iqn,
                    wait_until)

MIB = 1 << 20


@pytest.fixture
def t(make_tgt):
    return make_tgt()


class Raw:
    """Bytes to the RPC socket, lines from it."""

    def __init__(self, target):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(target.socket)
        self.file = self.sock.makefile('rb')

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        data = self.file.readline()
        assert data.endswith(b'\n'), data
        return json.loads(data)

    def ended(self):
        return self.file.read() == b''


@pytest.fixture
def raw(t):
    made = Raw(t)
    yield made
    made.file.close()
    made.sock.close()


def request(method, ident=1, **params):
    r = {'jsonrpc': '2.0', 'method': method, 'id': ident}
    if params:
        r['params'] = params
    return json.dumps(r).encode()


# ---- Framing.

def test_one_byte_at_a_time(raw):
    for byte in request('get_rpc_methods'):
        raw.send(bytes([byte]))
    assert 'construct_target_node' in raw.line()['result']


def test_pipelined(raw):
    raw.send(b''.join(request('bdev_null_create', i, name='N%d' % i,
                              num_blocks=8, block_size=512)
                      for i in range(500)))
    assert [raw.line()['result'] for _ in range(500)] == \
        ['N%d' % i for i in range(500)]


def test_batch(raw):
    raw.send(b'[' + request('log_get_print_level', 'a') + b',{"id":2},' +
             b'{"method":"log_get_level"},' + request('nosuch', 3) + b']')
    reply = raw.line()
    assert [r['id'] for r in reply] == ['a', 2, 3]
    assert [r.get('error', {}).get('code') for r in reply] == \
        [None, -32600, -32601]


def test_half_closed(raw):
    """Who has said all may still listen."""
    raw.send(request('bdev_get_bdevs', 1) + request('get_rpc_methods', 2))
    raw.sock.shutdown(socket.SHUT_WR)
    assert raw.line()['id'] == 1
    assert raw.line()['id'] == 2
    assert raw.ended()


def test_no_json(raw, t):
    raw.send(request('log_get_level', 1) + b'}{')
    assert raw.line()['id'] == 1
    assert raw.line()['error']['code'] == -32700
    assert raw.ended()
    t.alive()


def test_reply_beyond_all_buffers(raw, t):
    """SPDK fails at 32 KiB, or at 32 MiB; here the reader sets the pace."""
    names = ['N%d' % i for i in range(2000)]
    for name in names:
        t.rpc('bdev_null_create', name=name, num_blocks=8, block_size=512)
    times = 64
    raw.send(b''.join(request('bdev_get_bdevs', i) for i in range(times)))
    # It neither grows without bound nor stops others.
    assert t.rpc('log_get_level') == 'NOTICE'
    assert t.resident() < 400 * MIB
    for i in range(times):
        reply = raw.line()
        assert reply['id'] == i
        assert [b['name'] for b in reply['result']] == names


def test_request_too_long(raw, t):
    raw.send(b'{"method":"log_set_flag","id":1,"params":{"flag":"')
    try:
        for _ in range(9):
            raw.send(b'x' * MIB)
    except ConnectionError:
        pass
    assert raw.line()['error']['code'] == -32700
    t.alive()


def live_client(target):
    """None when there is no room for it."""
    try:
        client = Rpc(target.socket)
        client('log_get_level')
        return client
    except OSError:
        return None


def test_too_many_clients(t):
    # Who went a moment ago may still be counted.
    clients = [wait_until(lambda: live_client(t), 5, 'room for a client')
               for _ in range(64)]
    assert live_client(t) is None
    clients.pop().close()
    clients.append(wait_until(lambda: live_client(t), 5, 'room again'))
    for client in clients:
        assert client('log_get_level') == 'NOTICE'
        client.close()


# ---- The socket.

def test_socket_is_the_owners(t):
    mode = os.lstat(t.socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE(os.lstat(t.socket + '.lock').st_mode) == 0o600
    t.terminate()
    t.process.wait(10)
    assert not os.path.exists(t.socket + '.lock')


def test_live_socket_is_an_error(t, make_tgt):
    other = make_tgt(start=False)
    other.socket = t.socket
    process = subprocess.run(other.command(), capture_output=True,
                             timeout=20, check=False)
    assert process.returncode == 1
    assert b'another process serves it' in process.stderr
    assert t.rpc('log_get_level') == 'NOTICE'


def test_stale_socket_is_no_obstacle(t):
    t.kill()
    assert os.path.exists(t.socket)
    t.start()
    assert t.rpc('log_get_level') == 'NOTICE'


def test_other_files_are_left_alone(make_tgt):
    t = make_tgt(start=False)
    with open(t.socket, 'w', encoding='ascii') as f:
        f.write('precious')
    process = subprocess.run(t.command(), capture_output=True, timeout=20,
                             check=False)
    assert process.returncode == 1
    assert b'not a socket' in process.stderr
    with open(t.socket, encoding='ascii') as f:
        assert f.read() == 'precious'


# ---- Life.

@pytest.mark.parametrize('sig', ['SIGTERM', 'SIGINT', '15'])
def test_kill_instance(make_tgt, sig):
    t = make_tgt(calls=basic())
    assert t.rpc('spdk_kill_instance', sig_name=sig) is True
    t.stopped = True
    assert t.process.wait(10) == 0


def test_wait_for_rpc(make_tgt):
    t = make_tgt(args=['--wait-for-rpc'])
    with pytest.raises(RpcError) as error:
        t.rpc('iscsi_get_target_nodes')
    assert error.value.code == -1
    t.rpc('iscsi_set_options', max_sessions=3)
    waiting = Raw(t)
    waiting.send(request('framework_wait_init'))
    assert t.rpc('framework_start_init') is True
    assert waiting.line()['result'] is True
    assert t.rpc('iscsi_get_options')['max_sessions'] == 3
    with pytest.raises(RpcError) as error:
        t.rpc('framework_start_init')
    assert error.value.code == -1
    waiting.file.close()
    waiting.sock.close()


def test_wait_for_rpc_with_a_file(make_tgt):
    """The first pass is done at once, the second when it may."""
    t = make_tgt(start=False)
    path = os.path.join(t.dir, 'config.json')
    t.args = ['-w', '-c', path]
    with open(path, 'w', encoding='ascii') as f:
        json.dump(config_of(basic(options={'max_sessions': 4}),
                            free_port()), f)
    t.start()
    with pytest.raises(RpcError):
        t.rpc('bdev_get_bdevs')
    t.rpc('framework_start_init')
    assert t.rpc('iscsi_get_options')['max_sessions'] == 4
    assert len(t.rpc('iscsi_get_target_nodes')) == 1


def test_rpcs_allowed(make_tgt):
    t = make_tgt(args=['--rpcs-allowed', 'get_rpc_methods,bdev_get_bdevs'])
    assert t.rpc('rpc_get_methods') == ['rpc_get_methods', 'bdev_get_bdevs']
    with pytest.raises(RpcError) as error:
        t.rpc('bdev_null_create', name='N', num_blocks=8, block_size=512)
    assert error.value.code == -32601


def test_deletion_ends_sessions(make_tgt, connect):
    t = make_tgt(calls=basic())
    s = connect(to=t)
    assert t.connections()[0]['target_node_name'] == 'disk1'
    t.rpc('iscsi_delete_target_node', name=iqn())
    s.expect_closed()
    assert t.rpc('iscsi_get_target_nodes') == []
    t.quiet()


# ---- scripts/rpc.py.

class Script:
    def __init__(self, target):
        self.target = target

    def run(self, line, stdin=None):
        return subprocess.run(
            [sys.executable, RPC_PY, '-s', self.target.socket] + line,
            capture_output=True, text=True, timeout=60, check=False,
            input=stdin)

    def __call__(self, *line, stdin=None):
        process = self.run(list(line), stdin)
        assert process.returncode == 0, process.stderr
        return process.stdout


@pytest.fixture
def rpc(t):
    return Script(t)


def nodes(t):
    return t.rpc('iscsi_get_target_nodes')


def test_script_18_01(t, rpc):
    port = str(t.port)
    assert rpc('add_portal_group', '1', '127.0.0.1:' + port,
               '[::1]:%s@0x1' % port) == ''
    assert rpc('add_initiator_group', '2', 'ANY !iqn.2000-01.a.b:c',
               '127.0.0.1/32 10.0.0.0/8') == ''
    assert rpc('construct_malloc_bdev', '-b', 'MyBdev', '64', '512') == \
        'MyBdev\n'
    assert rpc('construct_null_bdev', 'A B', '1', '4096') == "'A B'\n"
    assert rpc('construct_target_node', 'Target3', 'Target3_alias',
               'MyBdev:0', '1:2', '64', '0', '0', '0', '1', '-H', '1',
               '-D', '0') == ''
    assert rpc('target_node_add_lun', iqn('Target3'), 'A B', '-i', '9') == ''
    node, = nodes(t)
    assert node['luns'] == [{'bdev_name': 'MyBdev', 'lun_id': 0},
                            {'bdev_name': 'A B', 'lun_id': 9}]
    assert (node['header_digest'], node['data_digest']) == (True, False)
    assert node['chap_group'] == 1
    old, = json.loads(rpc('get_target_nodes'))
    assert old['luns'][1]['id'] == 9 and old['chap_auth_group'] == 1
    assert t.rpc('iscsi_get_portal_groups')[0]['portals'] == [
        {'host': '127.0.0.1', 'port': port}, {'host': '[::1]', 'port': port}]
    assert 'timeout' in json.loads(rpc('get_iscsi_global_params'))
    assert rpc('delete_bdev', 'A B') == ''
    assert rpc('delete_pg_ig_maps', iqn('Target3'), '1:2') == ''
    assert nodes(t)[0]['pg_ig_maps'] == []
    assert rpc('set_trace_flag', 'rpc') == ''
    assert json.loads(rpc('get_trace_flags'))['rpc'] is True
    assert rpc('get_log_level') == 'NOTICE\n'


def test_script_18_04(t, rpc):
    rpc('add_portal_group', '1', '127.0.0.1:%d' % t.port)
    rpc('add_initiator_group', '1', 'ANY', 'ANY')
    rpc('construct_malloc_bdev', '-b', 'M', '-u',
        '01234567-89ab-cdef-0123-456789abcdef', '8', '512')
    rpc('construct_target_node', '-H', 'd1', 'a', 'M:0', '1:1', '32', '-g',
        '5', '-r', '-m', '-D')
    node, = nodes(t)
    assert node['require_chap'] and node['mutual_chap']
    assert node['header_digest'] and node['data_digest']
    assert node['chap_group'] == 5 and node['queue_depth'] == 32
    rpc('add_initiators_to_initiator_group', '1', '-n',
        'iqn.2000-01.a.b:c iqn.2000-01.a.b:d', '-m', '10.0.0.0/8')
    rpc('delete_initiators_from_initiator_group', '1', '-n', 'ANY')
    group, = json.loads(rpc('get_initiator_groups'))
    assert group['initiators'] == ['iqn.2000-01.a.b:c', 'iqn.2000-01.a.b:d']
    rpc('construct_null_bdev', 'N', '8', '512')
    assert rpc('construct_split_vbdev', 'N', '-s', '2', '2') == 'Np0 Np1\n'


def test_script_today(t, rpc):
    rpc('iscsi_create_portal_group', '1',
        '127.0.0.1:%d 127.0.0.2:%d' % (t.port, t.port), '-p')
    rpc('iscsi_create_portal_group', '2', '127.0.0.3:%d' % t.port, '-w')
    rpc('iscsi_start_portal_group', '2')
    rpc('iscsi_create_initiator_group', '1', 'ANY', 'ANY')
    rpc('iscsi_create_auth_group', '7', '-c',
        'user:u1 secret:s1 muser:m1 msecret:n1,user:u2 secret:s2')
    groups = json.loads(rpc('iscsi_get_auth_groups'))
    assert groups == [{'tag': 7, 'secrets': [{'user': 'u1', 'muser': 'm1'},
                                             {'user': 'u2'}]}]
    assert rpc('bdev_malloc_create', '8', '512') == 'Malloc0\n'
    rpc('iscsi_create_target_node', 'd1', '', 'Malloc0:0', '1:1 2:1', '64',
        '-d')
    rpc('iscsi_target_node_set_auth', iqn('d1'), '-r', '-g', '7')
    rpc('iscsi_target_node_set_redirect', iqn('d1'), '2', '-a', '127.0.0.1',
        '-p', str(t.port))
    rpc('iscsi_target_node_remove_lun', iqn('d1'), '0')
    rpc('iscsi_set_options', '-a', '9', '--no-immediate-data')
    options = json.loads(rpc('iscsi_get_options'))
    assert options['max_sessions'] == 9
    assert options['immediate_data'] is False
    node, = nodes(t)
    assert node['require_chap'] and node['chap_group'] == 7
    assert node['luns'] == []
    assert rpc('iscsi_delete_target_node', iqn('d1')) == ''


def test_script_save_and_load(t, rpc, make_tgt):
    rpc('iscsi_create_portal_group', '1', '127.0.0.1:%d' % t.port)
    rpc('iscsi_create_initiator_group', '1', 'ANY', 'ANY')
    rpc('bdev_malloc_create', '-b', 'M', '8', '512')
    rpc('iscsi_create_target_node', 'd1', 'alias', 'M:0', '1:1', '64', '-d')
    saved = rpc('save_config')
    path = os.path.join(t.dir, 'saved.json')
    assert rpc('save_config', '-f', path) == ''
    with open(path, encoding='utf-8') as file:
        assert file.read() == saved
    assert json.dumps(t.rpc('save_config'), indent=2) + '\n' == saved
    t.terminate()
    assert t.process.wait(10) == 0
    # What is saved is what an empty target takes.
    again = make_tgt(args=['--wait-for-rpc'])
    other = Script(again)
    other('load_config', stdin=saved)
    assert other('save_config') == saved
    # And SPDK's own entries are no obstacle.
    config = {'subsystems': [{'subsystem': 'bdev', 'config': [
        {'method': 'bdev_set_options', 'params': {'bdev_io_pool_size': 1}},
        {'method': 'bdev_null_create', 'params': {
            'name': 'N', 'num_blocks': 8, 'block_size': 512}}]}]}
    other('load_config', stdin=json.dumps(config))
    assert again.rpc('bdev_get_bdevs', name='N')


def test_script_faults(t, rpc):
    for line in (['delete_bdev', 'nosuch'], ['nosuch'],
                 ['nosuch', 'no json'], ['add_portal_group', 'x', 'y'],
                 ['add_portal_group', '1', '300.0.0.1:1'], [],
                 ['construct_target_node', 'a', 'b', 'c', '1:1', '1'],
                 ['construct_target_node', 'a', 'b', 'c:0', '1:1', '1', '0']):
        process = rpc.run(line)
        assert process.returncode != 0, line
        assert 'Traceback' not in process.stderr, line
    process = rpc.run(['bdev_malloc_delete', 'nosuch'])
    assert 'Got JSON-RPC error response' in process.stderr
    assert 'No such device' in process.stderr
    t.terminate()
    t.process.wait(10)
    process = rpc.run(['get_rpc_methods'])
    assert process.returncode != 0 and 'cannot connect' in process.stderr


def test_script_any_method(rpc):
    assert rpc('log_set_level', '{"level": "INFO"}') == 'true\n'
    assert rpc('log_get_level') == 'INFO\n'
    assert 'iscsi_tgt' in rpc('spdk_get_version')


def test_script_kill_instance(t, rpc):
    assert rpc('kill_instance', 'SIGTERM') == ''
    t.stopped = True
    assert t.process.wait(10) == 0


def test_script_kill_at_once(t, rpc):
    """The answer does not come; for this call that is no failure."""
    assert rpc('kill_instance', 'SIGKILL') == ''
    t.stopped = True
    assert t.process.wait(10) == -signal.SIGKILL


# ---- One after the other.

def test_portal_is_free_after_deletion(t):
    """The answer to a deletion means that the port can be had again."""
    for i in range(200):
        t.rpc('iscsi_create_portal_group', tag=1, portals=[
            {'host': '127.0.0.1', 'port': str(t.port)}])
        t.rpc('iscsi_delete_portal_group', tag=1)


def test_sigusr1_prints_the_configuration(t):
    """As 18.01 does; but what it prints can be read back."""
    t.rpc('bdev_null_create', name='N', num_blocks=8, block_size=512)
    t.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: b'bdev_null_create' in t.log() and
               t.log().endswith(b'}\n'), 10, 'the configuration')
    text = t.log().decode()
    assert json.loads(text[text.index('\n{') + 1:]) == t.rpc('save_config')


def test_wait_for_a_bdev(t, raw):
    raw.send(request('bdev_get_bdevs', 5, name='N', timeout=20000))
    raw.send(request('log_get_level', 6))
    assert raw.line()['id'] == 6
    t.rpc('bdev_null_create', name='N', num_blocks=8, block_size=512)
    reply = raw.line()
    assert reply['id'] == 5 and reply['result'][0]['name'] == 'N'
    with pytest.raises(RpcError) as error:
        t.rpc('bdev_get_bdevs', name='nosuch', timeout=10)
    assert error.value.code == -19


@pytest.mark.parametrize('size', [
    {'num_blocks': (1 << 63) - 1, 'block_size': 65536},
    {'num_blocks': 1 << 50, 'block_size': 512},
    {'num_blocks': 8, 'block_size': 512, 'md_size': 8},
    {'num_blocks': 8, 'block_size': 131072},
    {'num_blocks': 8, 'block_size': 0},
])
def test_ram_disk_that_cannot_be(t, size):
    with pytest.raises(RpcError):
        t.rpc('bdev_malloc_create', name='M', **size)
    assert t.rpc('bdev_get_bdevs') == []
