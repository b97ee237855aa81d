package jobs

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// awaitExit returns when the child pid has ended. It does not reap it.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// strays lists the living processes that have both settings in the environment
// that they were started with: what a command has started, wherever it went.
func strays(settings ...string) []int {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
next:
	for _, path := range environs {
		data, err := os.ReadFile(path) // another account's cannot be read, and a zombie's is empty
		if err != nil {
			continue
		}
		env := strings.Split(string(data), "\x00")
		for _, s := range settings {
			if !slices.Contains(env, s) {
				continue next
			}
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// living lists the members of a process group that are not dead yet.
func living(pgid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	if len(stats) == 0 { // no /proc
		if unix.Kill(-pgid, 0) == unix.ESRCH {
			return nil
		}
		return []int{pgid}
	}
	var pids []int
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has just gone
		}
		// "PID (NAME) STATE PPID PGRP …"; a name may hold spaces and brackets.
		fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(pgid) {
			continue
		}
		if state := fields[0][0]; state == 'Z' || state == 'X' {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
