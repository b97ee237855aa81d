package nodetest

import (
	"slices"
	"strings"
)

// mountPoint is a line of /proc/self/mountinfo: see proc_pid_mountinfo(5).
type mountPoint struct {
	point, fstype, source string
	options               []string // of this mount
	super                 []string // of its filesystem
}

// parseMountinfo reads /proc/self/mountinfo. What is not in its form is left out.
func parseMountinfo(text []byte) []mountPoint {
	var mounts []mountPoint
	for line := range strings.Lines(string(text)) {
		// A source may be empty: two blanks are not one.
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(fields) < 10 {
			continue
		}
		// Optional fields end with a hyphen.
		end := slices.Index(fields[6:], "-")
		if end < 0 || len(fields) < 6+end+4 {
			continue
		}
		rest := fields[6+end+1:]
		mounts = append(mounts, mountPoint{
			point:   unescapeOctal(fields[4]),
			fstype:  unescapeOctal(rest[0]),
			source:  unescapeOctal(rest[1]),
			options: splitOptions(fields[5]),
			super:   splitOptions(rest[2]),
		})
	}
	return mounts
}

// unescapeOctal resolves \040 and its like: blank, tab, newline, backslash and # are
// written so.
func unescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] <= '3' && isOctal(s[i+1]) && isOctal(s[i+2]) && isOctal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(c byte) bool { return '0' <= c && c <= '7' }

func splitOptions(s string) []string {
	options := strings.Split(s, ",")
	for i, o := range options {
		options[i] = unescapeOctal(o)
	}
	return options
}

// inForce gives the options that count at a mount point, those of the filesystem
// among them. It is written to only when both may be.
func (m mountPoint) inForce() []string {
	all := slices.Clone(m.options)
	for _, o := range m.super {
		if !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	if slices.Contains(all, "ro") {
		all = slices.DeleteFunc(all, func(o string) bool { return o == "rw" })
	}
	return all
}

// mountedAt finds what is mounted at a path: the last one hides those before.
func mountedAt(mounts []mountPoint, path string) (mountPoint, bool) {
	for _, m := range slices.Backward(mounts) {
		if m.point == path {
			return m, true
		}
	}
	return mountPoint{}, false
}

// mountAbove finds the mount point that a path is below.
func mountAbove(mounts []mountPoint, path string) string {
	above := ""
	for _, m := range mounts {
		if len(m.point) > len(above) && (m.point == "/" || m.point == path || strings.HasPrefix(path, m.point+"/")) {
			above = m.point
		}
	}
	return above
}
