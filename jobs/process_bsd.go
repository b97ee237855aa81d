//go:build darwin || freebsd

package jobs

import (
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// awaitExit returns when the child pid has ended. It does not reap it.
func awaitExit(pid int) {
	kq, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(kq) //nolint:errcheck // nothing was written
	unix.CloseOnExec(kq)
	var watch unix.Kevent_t
	unix.SetKevent(&watch, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	watch.Fflags = unix.NOTE_EXIT
	events := make([]unix.Kevent_t, 1)
	for {
		// ESRCH: it has ended already.
		if _, err := unix.Kevent(kq, []unix.Kevent_t{watch}, events, nil); err != unix.EINTR {
			return
		}
	}
}

// living lists the members of a process group that are not dead yet.
func living(pgid int) []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "pgid=", "-o", "stat=").Output()
	if err != nil {
		return []int{pgid} // nobody can vouch for it
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] != strconv.Itoa(pgid) || strings.HasPrefix(fields[2], "Z") {
			continue
		}
		if pid, err := strconv.Atoi(fields[0]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// strays cannot be told here: another process's environment is not to be had
// without parsing what ps prints.
func strays(...string) []int { return nil }
