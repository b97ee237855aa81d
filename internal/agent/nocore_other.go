//go:build !linux

package agent

import "golang.org/x/sys/unix"

// NoCore keeps what this process holds out of a core file. It is for a process
// that is about to hold a password.
func NoCore() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &l) == nil {
		l.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &l)
	}
}
