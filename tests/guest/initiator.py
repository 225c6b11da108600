# SPDX-License-Identifier: BSD-3-Clause
"""The guest's open-iscsi, and the targets that it talks to."""

import re

import daemon

ADDRESS, OTHER_ADDRESS, ADDRESS6 = '192.0.2.1', '192.0.2.2', '2001:db8::1'
PORT = 3260             # the protocol's: the namespace is ours alone
NAME = 'iqn.2016-06.io.spdk:guest'
SESSIONS = '/sys/class/iscsi_session'


class Target(daemon.Daemon):
    """The target, in the namespace of the guests."""

    def __init__(self, namespace, **kwargs):
        super().__init__(**kwargs)
        self.namespace = namespace
        self.port = PORT

    def command(self):
        return self.namespace.enter + super().command()

    def start(self):
        """Also once more, after kill(), with the same configuration."""
        if not self._spawn():
            raise AssertionError('the target does not start:\n' +
                                 self.tail())
        self.stopped = False
        return self


def target(disks, name='disk1', options=None, portals=((ADDRESS, PORT),),
           **node):
    """
    Calls for one target with these bdevs, given as (method, params), as LUN 0
    and up, that all may use.
    """
    calls = list(disks)
    if options:
        calls.append(('iscsi_set_options', options))
    return calls + [
        ('iscsi_create_portal_group', {'tag': 1, 'portals': [
            {'host': h, 'port': str(p)} for h, p in portals]}),
        ('iscsi_create_initiator_group', {
            'tag': 1, 'initiators': ['ANY'], 'netmasks': ['ANY']}),
        ('iscsi_create_target_node', dict({
            'name': name, 'alias_name': name,
            'pg_ig_maps': [{'pg_tag': 1, 'ig_tag': 1}],
            'luns': [{'bdev_name': params['name'], 'lun_id': i}
                     for i, (_, params) in enumerate(disks)],
            'queue_depth': 128}, **node))]


def ram(name='Malloc0', size_mib=64, block_size=512):
    return ('bdev_malloc_create', {
        'name': name, 'num_blocks': size_mib * 1048576 // block_size,
        'block_size': block_size})


def file(path, name='File0', size_mib=64, block_size=512):
    """A disk of a sparse file, which is made here."""
    with open(path, 'wb') as f:
        f.truncate(size_mib << 20)
    return ('bdev_aio_create', {'name': name, 'filename': str(path),
                                'block_size': block_size})


class OpenIscsi:
    def __init__(self, guest):
        self.guest = guest

    # ---- The commands of the guide.

    def discover(self, portal=ADDRESS):
        """[(portal, tag, name)]"""
        text = self.guest('iscsiadm -m discovery -t sendtargets -p ' + portal)
        return [tuple(re.fullmatch(r'(\S+),(\d+) (\S+)', line).groups())
                for line in text.splitlines()]

    def set(self, **settings):
        """
        Of all nodes known; node.session.iscsi.X or node.conn[0].iscsi.X as
        a whole, with dots: set(**{'name': value}).
        """
        for name, value in settings.items():
            self.guest("iscsiadm -m node -o update -n '%s' -v '%s'" %
                       (name, value))

    def login(self, settings=None, portal=ADDRESS, discover=True, luns=1):
        """Discovery and login, then waits for that many disks."""
        if discover:
            self.discover(portal)
        self.set(**(settings or {}))
        self.guest('iscsiadm -m node --login')
        self.guest.until('test $(ls -d %s/session*/device/target*/*/block/* '
                         '2>/dev/null | wc -l) -ge %d' % (SESSIONS, luns))
        return self

    def logout(self):
        self.guest('iscsiadm -m node --logout')

    def forget(self):
        """Whatever a test has left."""
        # A mount keeps a disk, and a disk its session.
        self.guest.run(
            'while grep -q " /mnt" /proc/mounts; do '
            'umount -f $(grep " /mnt" /proc/mounts | tail -n 1 | '
            'cut -d " " -f 2) || exit 1; done', check=False)
        self.guest.run('iscsiadm -m node --logoutall=all', check=False)
        self.guest.run('iscsiadm -m node -o delete', check=False)
        self.guest.run('iscsiadm -m discoverydb -o delete', check=False)
        left = self.guest.run('ls -d %s/session*' % SESSIONS, check=False)
        return left.rc != 0

    # ---- What there is.

    def disks(self, name='disk1'):
        """{LUN: 'sda'} of a target."""
        text = self.guest(
            'for s in %s/session*; do case $(cat $s/targetname) in *:%s) '
            'ls -d $s/device/target*/*/block/* 2>/dev/null;; esac; done; true'
            % (SESSIONS, name))
        found = {}
        for line in text.split():
            match = re.search(r'/\d+:\d+:\d+:(\d+)/block/(\w+)$', line)
            found[int(match.group(1))] = match.group(2)
        return found

    def disk(self, lun=0, name='disk1'):
        return '/dev/' + self.disks(name)[lun]

    def sessions(self):
        return int(self.guest('ls -d %s/session* 2>/dev/null | wc -l' %
                              SESSIONS))

    def negotiated(self):
        """What the kernel uses now, by its names in sysfs."""
        text = self.guest(
            'cd /sys/class; for f in iscsi_session/session*/* '
            'iscsi_connection/connection*/*; do '
            'test -f $f && echo "${f##*/}=$(cat $f 2>/dev/null)"; done; true')
        return dict(line.split('=', 1) for line in text.splitlines()
                    if '=' in line)
