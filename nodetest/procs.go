package nodetest

import (
	"bytes"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
)

// process is one that runs here.
type process struct {
	pid  int
	comm string   // the kernel's name for it, up to 15 bytes
	args []string // empty for a thread of the kernel
	uid  uint32   // the effective one
}

const (
	maxComm    = 15        // bytes; the kernel cuts a longer name
	maxCmdline = 256 << 10 // of what is read of a process's arguments
)

// listProcesses lists the processes that /proc shows, but this one. What ends
// meanwhile, and what has ended and was not waited for (a zombie), is left out.
func listProcesses() ([]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

func readProcess(pid int) (process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, false
	}
	p := process{pid: pid}
	var state byte
	var ok bool
	if p.comm, state, ok = parseStat(stat); !ok || state == 'Z' || state == 'X' || state == 'x' {
		return process{}, false
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return process{}, false
	}
	if p.uid, ok = parseUID(status); !ok {
		return process{}, false
	}
	if f, err := os.Open(dir + "/cmdline"); err == nil {
		text, _ := io.ReadAll(io.LimitReader(f, maxCmdline)) // what was read counts
		_ = f.Close()                                        // only read
		p.args = parseCmdline(text)
	}
	return p, true
}

// parseStat reads the name and the state of /proc/PID/stat: "PID (NAME) S ...".
// A name may hold anything, blanks, newlines and parentheses too; what follows
// it does not.
func parseStat(text []byte) (comm string, state byte, ok bool) {
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if begin < 0 || end < begin || len(text) < end+3 || text[end+1] != ' ' {
		return "", 0, false
	}
	return string(text[begin+1 : end]), text[end+2], true
}

// parseUID reads the effective user of /proc/PID/status. A newline in the
// process's name is escaped there.
func parseUID(text []byte) (uint32, bool) {
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, "Uid:")
		if !ok {
			continue
		}
		ids := strings.Fields(rest)
		if len(ids) < 2 {
			return 0, false
		}
		id, err := strconv.ParseUint(ids[1], 10, 32)
		return uint32(id), err == nil
	}
	return 0, false
}

// parseCmdline takes the arguments of /proc/PID/cmdline apart. A process that
// writes a title there may leave no NUL, or a row of them.
func parseCmdline(text []byte) []string {
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 {
		return nil
	}
	return strings.Split(string(text), "\x00")
}

// called tells whether a process is known by a name: the kernel's, or, where that
// had to be cut, the name of the program that it starts with.
func (p process) called(name string) bool {
	if len(name) <= maxComm {
		return p.comm == name
	}
	if p.comm != name[:maxComm] {
		return false
	}
	for _, a := range p.args[:min(len(p.args), 2)] { // a script comes after its interpreter
		if path.Base(a) == name {
			return true
		}
	}
	return false
}
