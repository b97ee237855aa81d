//go:build !linux

package main

import "syscall"

// adopt is not possible here: what a command leaves is not counted.
func adopt() {}

// ownGroup keeps the terminal's Ctrl-C off a child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
