package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of what its descendants leave.
func adopt() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// ownGroup keeps the terminal's Ctrl-C off a child.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
