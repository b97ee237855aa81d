package testnode

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// marked finds the living processes with mark (KEY=value) in their environment,
// whatever group or session they went into.
func marked(mark string) []int {
	all, _ := os.ReadDir("/proc")
	var pids []int
	for _, d := range all {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", d.Name(), "environ"))
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+mark+"\x00")) {
			continue // gone, another user's, or not ours
		}
		pids = append(pids, pid)
	}
	return pids
}

// Running gives the processes that carry mark (KEY=value) in their environment
// and have text in their command line, words apart by spaces. It needs /proc.
func Running(mark, text string) []int {
	var pids []int
	for _, pid := range marked(mark) {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && bytes.Contains(bytes.ReplaceAll(line, []byte{0}, []byte{' '}), []byte(text)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
