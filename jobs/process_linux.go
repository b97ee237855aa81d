package jobs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// awaitExit returns when the child pid has ended. It does not reap it.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
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
