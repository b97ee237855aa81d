package nodetest

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"example.org/conc/jobs"
)

// inode is the check of file, dir, symlink and socket: what is at a path.
type inode struct {
	path  string
	kind  string // "file", "dir", "symlink" or "socket"
	wants []want
}

func fileEntry() Entry {
	return Entry{
		Name:    "file",
		Args:    "PATH [exists|absent] [mode MODE] [owner USER] [group GROUP] [size BOUND] [sha256|sha512|md5 HEX] [contains TEXT] [lacks TEXT] [matches REGEXP]",
		Summary: "a file: that it is there, whose it is, what is in it",
		Help: `The path starts at the home directory, unless it is absolute or bundle:PATH.
Symbolic links are followed. With no property the file has to be there.

mode is octal: 0644, or 4755 with the setuid bit. owner and group are names or
numbers. size is a size with an operator: >0, <=10M, 512. sha256, sha512 and md5
are checksums, in hex digits; md5 does not hold against somebody who forges the
file. contains, lacks and matches look at the text of the file, up to its first
16 MiB; a REGEXP is Go's, and ^ and $ stand for the ends of a line. A property may
be named several times.

A file that may not be read is ERROR: try sudo.`,
		Example: "sudo file /sys/module/xt_recent/parameters/ip_pkt_list_tot contains 35",
		Goss:    "file",
		Parse:   parseInode("file", fileProperties),
	}
}

func dirEntry() Entry {
	return Entry{
		Name:    "dir",
		Args:    "PATH [exists|absent] [mode MODE] [owner USER] [group GROUP] [entries BOUND]",
		Summary: "a directory: that it is there, and whose it is",
		Help: `As for file. entries is how many names are in the directory, with an operator:
>0, =0.`,
		Example: "dir /srv/shop mode 0750 owner shop",
		Goss:    "file (filetype: directory)",
		Parse:   parseInode("dir", dirProperties),
	}
}

func symlinkEntry() Entry {
	return Entry{
		Name:    "symlink",
		Args:    "PATH [exists|absent] [to TARGET] [owner USER] [group GROUP]",
		Summary: "a symbolic link, and where it leads",
		Help: `to is the link's own text, or else the absolute path that it leads to. A link that
leads nowhere is there all the same.`,
		Example: "symlink current to releases/%(version)s",
		Goss:    "file (filetype: symlink)",
		Parse:   parseInode("symlink", linkProperties),
	}
}

func socketEntry() Entry {
	return Entry{
		Name:    "socket",
		Args:    "PATH [exists|absent] [mode MODE] [owner USER] [group GROUP]",
		Summary: "a socket in the filesystem: that it is there, and whose it is",
		Help: `As for file. That a program listens on it is not looked at: a socket stays behind
when its program is killed.`,
		Example: "socket /run/php/php-fpm.sock mode 0660 group www-data",
		Goss:    "file (filetype: socket)",
		Parse:   parseInode("socket", socketProperties),
	}
}

var (
	ownership = map[string]func(string) error{"mode": isMode, "owner": nil, "group": nil}

	fileProperties = grammar{flags: []string{"exists", "absent"}, values: with(ownership, map[string]func(string) error{
		"size": isBound(sizeNumber), "sha256": isSHA256, "sha512": isHex(sha512.Size), "md5": isHex(md5.Size), contains: nil, lacks: nil, matches: isPattern,
	})}
	dirProperties    = grammar{flags: []string{"exists", "absent"}, values: with(ownership, map[string]func(string) error{"entries": isBound(plainNumber)})}
	socketProperties = grammar{flags: []string{"exists", "absent"}, values: with(ownership, map[string]func(string) error{})}
	linkProperties   = grammar{flags: []string{"exists", "absent"}, values: map[string]func(string) error{"to": nil, "owner": nil, "group": nil}}
)

// with joins the properties that several checks have with those of one.
func with(common, own map[string]func(string) error) map[string]func(string) error {
	for name, judge := range common {
		own[name] = judge
	}
	return own
}

func parseInode(kind string, g grammar) func([]string) (Check, error) {
	return func(args []string) (Check, error) {
		path, rest, err := subject(args, "a path")
		if err != nil {
			return nil, err
		}
		wants, err := g.read(rest)
		if err != nil {
			return nil, err
		}
		for _, w := range wants {
			if w.property == "absent" && len(wants) > 1 {
				return nil, errors.New("absent stands alone: what is not there has no properties")
			}
		}
		return inode{path: path, kind: kind, wants: wants}, nil
	}
}

func isMode(s string) error {
	if v, err := strconv.ParseUint(s, 8, 32); err != nil || v > 0o7777 {
		return errors.New("not an octal mode such as 0644")
	}
	return nil
}

func isSHA256(s string) error { return isHex(sha256.Size)(s) }

// isHex judges so many bytes in hex digits.
func isHex(size int) func(string) error {
	return func(s string) error {
		if raw, err := hex.DecodeString(s); err != nil || len(raw) != size {
			return fmt.Errorf("not %d hex digits", 2*size)
		}
		return nil
	}
}

// Look looks at what is at the path. The server of its filesystem may be gone.
func (c inode) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	return awaited(ctx, func() ([]Finding, error) { return c.look(ctx, env) })
}

func (c inode) look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	path := env.Path(c.path)
	stat := os.Stat
	if c.kind == "symlink" {
		stat = os.Lstat
	}
	fi, err := stat(path)
	gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
	absent := len(c.wants) == 1 && c.wants[0].property == "absent"
	switch {
	case err != nil && !gone:
		return nil, unreadable(err)
	case absent:
		got := "nothing there"
		if !gone {
			got = "a " + kindOf(fi)
		}
		return []Finding{{OK: gone, Want: path + " absent", Got: got}}, nil
	case gone:
		return []Finding{{Want: "a " + c.kind + " " + path, Got: "nothing there"}}, nil
	case kindOf(fi) != c.kind:
		return []Finding{{Want: "a " + c.kind + " " + path, Got: "a " + kindOf(fi)}}, nil
	}
	var findings []Finding
	for _, w := range c.wants {
		f, err := c.property(ctx, path, fi, w)
		if err != nil {
			return nil, unreadable(err)
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// kindOf names what a file is.
func kindOf(fi fs.FileInfo) string {
	switch mode := fi.Mode(); {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "dir"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	case mode&fs.ModeNamedPipe != 0:
		return "fifo"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

func (c inode) property(ctx context.Context, path string, fi fs.FileInfo, w want) (Finding, error) {
	switch w.property {
	case "exists":
		return Finding{OK: true}, nil
	case "mode":
		limit, _ := strconv.ParseUint(w.value, 8, 32)
		mode := permissions(fi)
		return found(uint64(mode) == limit, "mode", fmt.Sprintf("%04o", limit), fmt.Sprintf("%04o", mode)), nil
	case "owner":
		return owned("owner", w.value, owner(fi), userName), nil
	case "group":
		return owned("group", w.value, group(fi), groupName), nil
	case "size":
		b, err := readBound(w.value, "=", sizeNumber)
		return found(b.holds(float64(fi.Size())), "size", w.value, fmt.Sprintf("%d", fi.Size())), err
	case "entries":
		names, err := os.ReadDir(path)
		if err != nil {
			return Finding{}, err
		}
		b, err := readBound(w.value, "=", plainNumber)
		return found(b.holds(float64(len(names))), "entries", w.value, strconv.Itoa(len(names))), err
	case "to":
		return leads(path, w.value)
	}
	if newHash, ok := checksums[w.property]; ok {
		sum, err := hashOf(ctx, path, newHash())
		return found(strings.EqualFold(sum, w.value), w.property, strings.ToLower(w.value), sum), err
	}
	text, err := textOf(path)
	return onText("", w, text), err
}

// permissions gives the mode as chmod has it, setuid, setgid and sticky bits
// among it.
func permissions(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint32(st.Mode) & 0o7777 //nolint:unconvert // it has 16 bits on some systems
	}
	return uint32(fi.Mode().Perm())
}

func owner(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

func group(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Gid
	}
	return 0
}

// owned compares an account's number with a name or a number.
func owned(property, want string, id uint32, nameOf func(string) string) Finding {
	number := strconv.FormatUint(uint64(id), 10)
	name := nameOf(number)
	got := number
	if name != "" {
		got = name
	}
	return found(want == number || want == name, property, want, got)
}

func userName(id string) string {
	u, err := user.LookupId(id)
	if err != nil {
		return ""
	}
	return u.Username
}

func groupName(id string) string {
	g, err := user.LookupGroupId(id)
	if err != nil {
		return ""
	}
	return g.Name
}

// resolved gives the absolute path that a link leads to; "" when it leads nowhere.
func resolved(path string) string {
	to, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return to
}

func leads(path, to string) (Finding, error) {
	text, err := os.Readlink(path)
	if err != nil {
		return Finding{}, err
	}
	return found(text == to || resolved(path) == to, "to", to, text), nil
}

// unreadable is ERROR, with what helps against it.
func unreadable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return jobs.Errorf("%w", err).WithHint("try it with the modifier sudo")
	}
	return jobs.Errorf("%w", err)
}

// maxRead bounds what is read of a file for its text.
const maxRead = 16 << 20

// textOf reads a file's text. A FIFO or a device was told apart before.
func textOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead))
}

// checksums are the properties of a file that are one.
var checksums = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New, "md5": md5.New}

func hashOf(ctx context.Context, path string, h hash.Hash) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for ctx.Err() == nil {
		if _, err := io.CopyN(h, f, 4<<20); errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		} else if err != nil {
			return "", err
		}
	}
	return "", ctx.Err()
}
