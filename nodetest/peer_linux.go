package nodetest

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ours tells whether a process of this account is at the other end. The
// directory keeps others out already.
func ours(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	uid := -1
	_ = raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(peer.Uid)
		}
	})
	return uid == os.Getuid()
}
