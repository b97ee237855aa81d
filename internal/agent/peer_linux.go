package agent

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// trusted tells whether the other end of a socket is this account's, or root's.
func trusted(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	if e := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
		return false
	}
	return peer.Uid == 0 || int(peer.Uid) == os.Getuid()
}
