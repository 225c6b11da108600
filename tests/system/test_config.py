# SPDX-License-Identifier: BSD-3-Clause
"""The configuration file and the command line."""

import os
import re
import signal
import socket
import subprocess

import pytest

from daemon import ROOT, basic, binary, wait_until
from iscsi_initiator import Initiator

GROUPS = '''
[PortalGroup1]
  Portal DA1 127.0.0.1:PORT
[InitiatorGroup1]
  InitiatorName ANY
  Netmask 127.0.0.0/8
'''
DISK = '''
[Malloc]
  NumberOfLuns 1
  LunSizeInMB 8
'''
NODE = '''
[TargetNode1]
  TargetName disk1
  Mapping PortalGroup1 InitiatorGroup1
  LUN0 Malloc0
'''


def run(*args):
    return subprocess.run([binary()] + list(args), capture_output=True,
                          text=True, timeout=30, check=False)


@pytest.fixture
def place(make_tgt):
    """A directory, a socket and a port, without a target."""
    t = make_tgt(start=False, conf='')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        t.port = s.getsockname()[1]
    return t


def start(place, conf):
    place.conf = conf
    return subprocess.run(place.command(), capture_output=True, text=True,
                          timeout=30, check=False)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


# ---- The file.

def test_guide_grammar(make_tgt, connect):
    t = make_tgt(conf=GROUPS + DISK + NODE)
    s = connect(to=t)
    s.logout()
    assert t.rpc('get_target_nodes')[0]['luns'][0]['bdev_name'] == 'Malloc0'


def test_example_is_good():
    p = run('--check-config', '-c', os.path.join(ROOT, 'etc', 'iscsi.conf'))
    assert p.returncode == 0, p.stderr
    assert p.stdout == 'the configuration is good\n'


def test_example_names_every_key():
    """Each key of --help-config stands in the example, at least as comment."""
    with open(os.path.join(ROOT, 'etc', 'iscsi.conf'),
              encoding='utf-8') as f:
        example = f.read()
    text = run('--help-config').stdout.split('\nAccepted, without')[0]
    keys = re.findall(r'^  (\w+) ', text, re.M)
    assert len(keys) > 40
    for key in keys:
        assert re.search(r'^\s*#?\s*%s' % ('LUN0' if key == 'LUN' else key),
                         example, re.M), key


@pytest.mark.parametrize('conf, words', [
    ('[Nosuch]\n', ':1: unknown section [Nosuch]'),
    ('[iSCSI]\n\n  NoSuch 1\n', ':3: unknown key \'NoSuch\''),
    ('[iSCSI]\n  MaxSessions many\n', ':2: MaxSessions \'many\' is not a '),
    (GROUPS + NODE, ':11: LUN0: no block device is called \'Malloc0\''),
    (DISK + NODE, ':8: Mapping: there is no section [PortalGroup1]'),
    (GROUPS + DISK + NODE + NODE.replace('Node1', 'Node2'),
     ':17: [TargetNode2]: Invalid parameters: target node exists already'),
    (GROUPS + '[InitiatorGroup2]\nInitiatorName bad\nNetmask ANY\n',
     ':7: [InitiatorGroup2]: Invalid parameters'),
    (GROUPS + '[PortalGroup2]\nPortal A 127.0.0.1:PORT\n',
     'portal is in use by a portal group'),
    ('[AIO]\n\nAIO /nonexistent/file A\n', ':3: [AIO]'),
    ('[iSCSI]\n  AuthFile /nonexistent\n', '/nonexistent'),
    ('', 'has no section'),
    ('{"subsystems": [{"subsystem": "x", "config": [{"method": "y"}]}]}',
     'x, entry 1: y: Method not found'),
])
@pytest.mark.parametrize('check', [False, True])
def test_errors(place, conf, words, check):
    if check:
        place.args = ['--check-config']
    p = start(place, conf)
    assert p.returncode == 1
    assert words in p.stderr, p.stderr
    assert 'iscsi.conf' in p.stderr
    # Nothing is half-started, nothing is left.
    assert 'is ready' not in p.stderr
    assert sorted(os.listdir(place.dir)) == ['iscsi.conf']


def test_no_file(place):
    p = run('-c', '/nonexistent/iscsi.conf')
    assert p.returncode == 1
    assert '/nonexistent/iscsi.conf: No such file or directory' in p.stderr


def test_port_taken(place):
    with socket.create_server(('127.0.0.1', 0)) as other:
        place.port = other.getsockname()[1]
        p = start(place, GROUPS + DISK + NODE)
    assert p.returncode == 1
    assert 'Address already in use' in p.stderr


def test_unused_keys_are_one_notice(make_tgt):
    t = make_tgt(conf=GROUPS + '[Global]\nNoPci Yes\n[Nvme]\nX y\n[Ioat]\n')
    log = t.log().decode()
    assert log.count('has no use here') == 1
    assert '[Nvme], [Ioat]' in log and '[Global] NoPci' in log


def test_check_beside_a_running_target(make_tgt):
    t = make_tgt(conf=GROUPS + DISK + NODE)
    p = subprocess.run(t.command() + ['--check-config'], capture_output=True,
                       text=True, timeout=30, check=False)
    assert p.returncode == 0, p.stderr
    assert t.rpc('log_get_level') == 'NOTICE'
    assert listens(t.port)


def test_auth_file(place, make_tgt):
    path = os.path.join(place.dir, 'auth.conf')
    with open(path, 'w', encoding='ascii') as f:
        f.write('[AuthGroup1]\n  Auth "user1" "secret-of-user1"\n')
    conf = '[iSCSI]\nAuthFile %s\n' % path + GROUPS + DISK + NODE
    os.chmod(path, 0o644)
    p = start(place, conf)
    assert p.returncode == 1 and 'open to everybody' in p.stderr
    os.chmod(path, 0o600)
    t = make_tgt(conf=conf)
    assert t.rpc('iscsi_get_auth_groups') == [
        {'tag': 1, 'secrets': [{'user': 'user1'}]}]
    saved = t.rpc('save_config')
    assert 'secret-of' not in str(saved)
    # Groups of the file come back with the file.
    assert 'iscsi_create_auth_group' not in str(saved)
    assert path in str(saved)


def test_json_in_two_passes(make_tgt):
    """What may be done before the start is, wherever it stands."""
    calls = basic()
    calls.append(('iscsi_set_options', {'node_base': 'iqn.2001-04.com.x'}))
    t = make_tgt(calls=calls)
    assert t.rpc('iscsi_get_target_nodes')[0]['name'] == \
        'iqn.2001-04.com.x:disk1'


def test_json_ignore_errors(make_tgt):
    calls = basic() + [('iscsi_create_portal_group', {
        'tag': 1, 'portals': [{'host': '127.0.0.1', 'port': '1'}]})]
    t = make_tgt(calls=calls, args=['--json-ignore-init-errors'])
    assert 'portal group exists already' in t.log().decode()
    assert len(t.rpc('iscsi_get_target_nodes')) == 1


def test_thousand_targets(make_tgt):
    calls = basic()
    node = dict(calls[-1][1])
    for i in range(1000):
        calls.append(('iscsi_create_target_node', dict(node, name='n%d' % i)))
    t = make_tgt(calls=calls)
    assert len(t.rpc('iscsi_get_target_nodes')) == 1001


# ---- The command line.

def test_version_and_help():
    assert re.match(r'iscsi_tgt \d+\.\d+\.\d+\n$', run('-v').stdout)
    text = run('--help').stdout
    for option in ('-m, --cpumask MASK', '--wait-for-rpc', '--check-config',
                   '-r, --rpc-socket PATH', '--huge-dir'):
        assert option in text
    assert 'construct_target_node' in run('--help-rpc').stdout


@pytest.mark.parametrize('args, words', [
    (['--nosuch'], '--nosuch'),
    (['-m'], 'needs an argument'),
    (['-m', '0xg'], '0xg'),
    (['-m', '[0,4095]'], 'CPU 4095'),
    (['-m', '0x0'], '0x0'),
    (['-m', '0x1', '--lcores', '0'], 'exclude each other'),
    (['-p', '7'], 'main core 7'),
    (['-p', 'x'], '\'x\''),
    (['-r', '127.0.0.1:5260'], '127.0.0.1:5260'),
    (['-r', '/nonexistent/dir/sock'], 'cannot listen'),
    (['-r', '/tmp/' + 'x' * 200], 'too long'),
    (['-L', 'nosuch'], 'nosuch'),
    (['extra'], 'extra'),
])
def test_bad_options(args, words):
    if '-r' not in args:
        args = ['--no-rpc-server'] + args
    p = run(*args)
    assert p.returncode == 1
    assert words in p.stderr


def test_options_of_huge_pages(make_tgt):
    """They are accepted, and named in one notice."""
    t = make_tgt(args=['-s', '1024', '-n', '4', '-u', '-g', '-d', '-R',
                       '-i', '1', '-e', '0xff', '-B', '0000:00:1.0',
                       '--no-huge', '--huge-dir', '/x', '--iova-mode=pa',
                       '--base-virtaddr', '0x1000'])
    log = t.log().decode()
    assert log.count('has no use here') == 1
    for option in ('--mem-size', '--no-pci', '--no-huge', '--huge-dir'):
        assert option in log


@pytest.mark.parametrize('args, cores', [
    (['-m', '0x3'], [0, 1]), (['-m', '[0,1]'], [0, 1]),
    (['--lcores', '0-1'], [0, 1]), (['-m', '2'], [1]),
    (['--cpumask=[0-1]', '-p', '1'], [0, 1]), (['-m', '1', '-w'], [0]),
])
def test_cores(make_tgt, args, cores):
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip('needs CPUs 0 and 1')
    t = make_tgt(args=args)
    if '-w' in args:
        t.rpc('framework_start_init')
    reactors = t.rpc('framework_get_reactors')['reactors']
    assert [r['lcore'] for r in reactors] == cores
    main = [r['lcore'] for r in reactors if r['tid'] == t.process.pid]
    assert main == [1 if '-p' in args or cores == [1] else 0]


def test_quiet(make_tgt):
    assert b'ready' not in make_tgt(args=['-q']).log()


def test_no_rpc_server(place):
    place.conf = GROUPS + DISK + NODE
    process = subprocess.Popen(place.command() + ['--no-rpc-server'])
    try:
        wait_until(lambda: listens(place.port), 10, 'the portal')
        assert not os.path.exists(place.socket)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def daemon_pid(place):
    """Whoever has the socket in its command line."""
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cmdline' % pid, 'rb') as f:
                if place.socket.encode() in f.read():
                    return int(pid)
        except OSError:
            continue
    return None


def test_daemon(place):
    """The parent ends when the target listens; it goes on without us."""
    place.args = ['-b']
    p = start(place, GROUPS + DISK + NODE)
    assert p.returncode == 0, p.stderr
    pid = daemon_pid(place)
    try:
        assert listens(place.port)
        assert os.getsid(pid) == pid
        s = Initiator(place.address, 'iqn.2016-06.io.spdk:disk1')
        s.login()
        s.logout()
        s.close()
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(place.socket + '.lock'), 10,
               'the end of the daemon')
    assert not os.path.exists(place.socket)


def test_daemon_that_fails(place):
    """Its words still reach the terminal, its status the shell."""
    place.args = ['-b']
    p = start(place, GROUPS + NODE)
    assert p.returncode == 1
    assert 'no block device is called' in p.stderr
    assert daemon_pid(place) is None
