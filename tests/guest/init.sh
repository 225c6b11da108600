#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# The guest's first process: mounts, modules, network; then a shell whose
# commands come over the second serial port, a line each: NUMBER BASE64.
# What a command says comes back between two lines with its number.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C HOME=/root

busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mkdir -p /dev/pts /dev/shm /run/lock/iscsi /etc/iscsi
busybox mount -t devpts pts /dev/pts
busybox mount -t tmpfs shm /dev/shm
busybox mount -t tmpfs run /run
busybox mkdir -p /run/lock/iscsi

for module in $(busybox cat /etc/modules); do
	busybox modprobe "$module" 2>/dev/null
done

# No waiting for duplicates of an address that nobody else can have.
echo 0 >/proc/sys/net/ipv6/conf/eth0/dad_transmits
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
ip -6 addr add fec0::15/64 dev eth0
ip -6 route add default via fec0::2

# As the package's scripts would: a name, and who starts the daemon.
echo 'InitiatorName=iqn.2016-06.io.spdk:guest' >/etc/iscsi/initiatorname.iscsi
busybox sed -i 's,^iscsid.startup.*,iscsid.startup = /sbin/iscsid,' \
	/etc/iscsi/iscsid.conf

port=/dev/ttyS1
exec 3<>"$port"
busybox stty raw -echo <&3
echo 'ready' >&3
while read -r number text <&3; do
	echo "$text" | busybox base64 -d >/tmp/command
	echo "begin $number" >&3
	busybox sh /tmp/command </dev/null >&3 2>&1 3<&-
	echo "end $number $?" >&3
done
busybox poweroff -f
