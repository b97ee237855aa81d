package agent

import "golang.org/x/sys/unix"

// NoCore keeps what this process holds out of a core file, and out of reach of
// other processes of the account. It is for a process that is about to hold a
// password, and not inherited by the programs that it starts. A limit on core
// files would be, and does not hold where the kernel pipes them to a program.
func NoCore() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
