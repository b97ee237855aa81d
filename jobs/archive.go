package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/dustin/go-humanize"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// Untar unpacks a tar archive. Its archive is not believed: nothing is written
// outside the destination, and nothing is at the destination unless all of it is.
type Untar struct {
	Archive string // pattern that matches one file; see Env.One
	To      string // "": the bundle
	Strip   int    // leading parts of the members' names to drop
	Max     int64  // bytes that it may unpack to; 0: 10 GiB
	Replace bool   // replace what is at the destination under the same names

	host Host // for ByHand; "" is the node
}

const (
	untarMax     = 10 << 30
	untarMembers = 1_000_000
)

func untarEntry() Entry {
	return Entry{
		Name:    "untar",
		Args:    "ARCHIVE [to=DIR] [strip=N] [max=SIZE] [replace]",
		Summary: "unpack a tar archive",
		Help: `Unpacks the one archive that the pattern ARCHIVE matches: tar, alone or packed
by gzip, bzip2, xz or zstd, as its content tells. On the node a relative ARCHIVE
is in the bundle. Its members land in the bundle, or in to=DIR, which is made.
strip=1 drops the first part of their names. Permission bits and times are kept,
owners are not.

It is unpacked beside its place and renamed there once it is whole and its
checksum is right: top-level name by top-level name in a directory that is
there, in one step in a new one. What is there already with the same content,
modes and links is left alone, and is OK: the same release can be deployed
twice. Names inside it that the archive has not are kept, and told. With
replace, what differs goes.

BLOCKED: the pattern matches none or several, or a name is taken by something
else, whose first difference is told: nothing is changed. FAILED, with nothing
at the destination: not a tar archive, truncated, damaged, over max=10GiB or a
million members, or hostile: a name or a link that leads outside, a setuid file,
a device, a FIFO. ERROR: the disk is full.`,
		Example: "remote untar shop-*.tar.gz to=shop/releases/1.4.2 strip=1",
		Parse: func(args []string) (Op, error) {
			args, opts, err := options(args, "to=", "strip=", "max=", "replace")
			if err == nil {
				err = want(args, "ARCHIVE", 1, 1)
			}
			if err != nil {
				return nil, err
			}
			op := Untar{Archive: args[0], To: opts["to="]}
			_, op.Replace = opts["replace"]
			if s, ok := opts["strip="]; ok {
				if op.Strip, err = strconv.Atoi(s); err != nil {
					return nil, fmt.Errorf("strip=%s is not a number", s)
				}
			}
			if s, ok := opts["max="]; ok {
				n, err := humanize.ParseBytes(s)
				if err != nil || n == 0 || n > math.MaxInt64 {
					return nil, fmt.Errorf("max=%s is not a size, such as 500MB or 20GiB", s)
				}
				op.Max = int64(n)
			}
			return op, op.Validate()
		},
	}
}

// Validate checks the arguments.
func (u Untar) Validate() error {
	switch {
	case u.Archive == "":
		return errors.New("no archive")
	case u.Strip < 0 || u.Strip > 100:
		return fmt.Errorf("strip=%d is not 0 to 100", u.Strip)
	case u.Max < 0:
		return fmt.Errorf("max=%d is below 0", u.Max)
	case u.To != "":
		return exact(u.To)
	}
	return nil
}

// Repeatable says that it may be run again after a failure: that left nothing.
func (u Untar) Repeatable() {}

func (u Untar) on(h Host) Op {
	u.host = h
	return u
}

// ByHand gives the shell lines, for the node.
func (u Untar) ByHand(n *config.Node) []string {
	to := u.To
	if to == "" {
		to = bundlePrefix
	}
	var lines []string
	if u.To != "" {
		lines = append(lines, "mkdir -p "+typed(n, to))
	}
	line := "tar -xf " + typedSource(n, u.host, u.Archive) + " -C " + typed(n, to) + " --no-same-owner"
	if u.Strip > 0 {
		line += " --strip-components=" + strconv.Itoa(u.Strip)
	}
	if !u.Replace {
		line += " --keep-old-files"
	}
	return append(lines, line)
}

// Do unpacks the archive.
func (u Untar) Do(ctx context.Context, env *Env) error {
	archive, err := env.One(u.Archive)
	if err != nil {
		return err
	}
	dest := env.Bundle
	if u.To != "" {
		dest = env.Path(u.To)
	} else if _, err := os.Stat(dest); errors.Is(err, fs.ErrNotExist) {
		return Blockedf("%s: there is no bundle to unpack in", dest).WithHint("open_bundle comes first; or say to=DIR")
	}
	in, info, err := bundle.OpenRegular(archive)
	if err != nil {
		return err
	}
	defer in.Close()

	stage, err := newStage(dest)
	if err != nil {
		return judged(err)
	}
	defer stage.close()
	up := unpacking{
		ctx: ctx, root: stage.root, strip: u.Strip, left: u.Max,
		in: &intake{ctx: ctx, r: in, size: info.Size(), progress: env.Progress},
	}
	if up.left == 0 {
		up.left = untarMax
	}
	if err := up.all(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return judged(fmt.Errorf("%s: %w", filepath.Base(archive), err))
	}
	found, err := stage.enter(ctx, env, u.Replace)
	if err != nil {
		return judged(err)
	}
	text := "already there, unchanged"
	if found.same == 0 || found.same < found.names {
		text = fmt.Sprintf("%s, %s", count(up.files, "file"), humanize.Bytes(uint64(up.bytes)))
		if found.same > 0 {
			text += fmt.Sprintf("; %d of %s there already, unchanged", found.same, count(found.names, "name"))
		}
	}
	if found.more > 0 {
		text += fmt.Sprintf("; %s not of the archive: %s", count(found.more, "name"), found.one)
		if found.more > 1 {
			text += ", ..."
		}
	}
	env.Note("%s", text)
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return humanize.Comma(int64(n)) + " " + what + "s"
}
