package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process and all that descends from it have taken.
type usage struct {
	processes int
	cpu       time.Duration // with what has ended below them, to a hundredth of a second
	memory    int64         // the peak of the largest that is there, in bytes
}

// tick is the unit of /proc's times: USER_HZ, the same on every Linux.
const tick = 10 * time.Millisecond

// descent adds up a process and its descendants. It needs /proc; without, there
// is nothing to see.
//
// The time of a process that has ended is its parent's, as soon as that has
// waited for it; so the sum goes up only.
func descent(pid int) usage {
	parents, times := map[int]int{}, map[int]time.Duration{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		at := bytes.LastIndexByte(text, ')') // the name before it may hold anything
		if err != nil || at < 0 {
			continue
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		field := strings.Fields(string(text[at+1:]))
		if len(field) < 15 {
			continue
		}
		parents[id], _ = strconv.Atoi(field[1])
		for _, f := range field[11:15] { // utime stime cutime cstime
			ticks, _ := strconv.ParseInt(f, 10, 64)
			times[id] += time.Duration(ticks) * tick
		}
	}
	var u usage
	for id := range parents {
		if !descends(parents, id, pid) {
			continue
		}
		u.processes++
		u.cpu += times[id]
		u.memory = max(u.memory, peak(id))
	}
	return u
}

func descends(parents map[int]int, id, from int) bool {
	for range 64 { // a number may be another process's by now
		if id == from {
			return true
		}
		next, ok := parents[id]
		if !ok {
			return false
		}
		id = next
	}
	return false
}

// peak gives the most memory that a process has had, in bytes.
func peak(pid int) int64 {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// children gives the children of this process.
func children() []int {
	var all []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	own := strconv.Itoa(os.Getpid())
	for _, path := range stats {
		text, err := os.ReadFile(path)
		at := bytes.LastIndexByte(text, ')')
		if err != nil || at < 0 {
			continue
		}
		if field := strings.Fields(string(text[at+1:])); len(field) > 1 && field[1] == own {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			all = append(all, id)
		}
	}
	return all
}
