package nodetest

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"strconv"

	"golang.org/x/sys/unix"

	"example.org/conc/jobs"
)

// disk is the check of the filesystem that a path is on.
type disk struct {
	path  string
	wants []want
}

var diskProperties = grammar{values: map[string]func(string) error{
	"free": isAmount(sizeNumber), "used": isAmount(sizeNumber), "size": isBound(sizeNumber),
	"inodes-free": isAmount(plainNumber), "inodes-used": isAmount(plainNumber),
}}

func diskEntry() Entry {
	return Entry{
		Name:    "disk",
		Args:    "PATH [free BOUND] [used BOUND] [size BOUND] [inodes-free BOUND] [inodes-used BOUND]",
		Summary: "the space on the filesystem that a path is on",
		Help: `The path starts at the home directory, unless it is absolute or bundle:PATH.

free is what an account that is not root may still write, used what is written, as
df has them: in percent or as a size, >=10%%, >5GiB (the percent sign stands twice, as
everywhere in deploy.ini). inodes-free and inodes-used are a number of files, or
percent. size is that of the filesystem. Without an operator free, inodes-free and
size are "at least", the others "at most". A filesystem that has no limit on inodes
has enough of them.

A path that is not there is FAILED. A filesystem that has no size, such as /proc, is
ERROR; one whose server does not answer is TIMED OUT.`,
		Example: "disk /srv free >=10%% inodes-free >=5%%",
		Goss:    "mount (usage)",
		Parse: func(args []string) (Check, error) {
			path, rest, err := subject(args, "a path")
			if err != nil {
				return nil, err
			}
			wants, err := diskProperties.read(rest)
			if err == nil && len(wants) == 0 {
				err = errors.New("it needs a property: free, used, size, inodes-free or inodes-used")
			}
			return disk{path, wants}, err
		},
	}
}

// Look asks the filesystem.
func (c disk) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	path := env.Path(c.path)
	v, err := awaited(ctx, func() (volume, error) { return statVolume(path) })
	if errors.Is(err, fs.ErrNotExist) {
		return []Finding{{Want: "a filesystem at " + path, Got: "nothing there"}}, nil
	} else if err != nil {
		return nil, unreadable(err)
	}
	var findings []Finding
	for _, w := range c.wants {
		f, err := v.judge(w)
		if err != nil {
			return nil, err
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// volume is how full a filesystem is, in bytes.
type volume struct {
	path                string
	size, used, free    float64
	inodes, takenInodes float64
	freeInodes          float64
}

// statVolume asks a filesystem, for as long as it takes.
func statVolume(path string) (volume, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return volume{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
		break
	}
	block := blockSize(&st)
	return volume{
		path:        path,
		size:        float64(st.Blocks) * block,
		used:        (float64(st.Blocks) - float64(st.Bfree)) * block,
		free:        max(0, float64(st.Bavail)) * block,
		inodes:      float64(st.Files),
		takenInodes: float64(st.Files) - float64(st.Ffree),
		freeInodes:  max(0, float64(st.Ffree)),
	}, nil
}

func (v volume) judge(w want) (Finding, error) {
	switch w.property {
	case "inodes-free", "inodes-used":
		if v.inodes == 0 { // it makes them as they are needed
			return v.boundless(w)
		}
		if w.property == "inodes-free" {
			return free(v.freeInodes, v.inodes, showCount).judge(w, ">=", plainNumber)
		}
		return used(v.takenInodes, v.inodes, showCount).judge(w, "<=", plainNumber)
	}
	if v.size == 0 {
		return Finding{}, jobs.Errorf("the filesystem of %s has no size", v.path)
	}
	// What is reserved for root is neither: percentages are of what others may use.
	whole := v.used + v.free
	switch w.property {
	case "free":
		return free(v.free, whole, showSize).judge(w, ">=", sizeNumber)
	case "used":
		return used(v.used, whole, showSize).judge(w, "<=", sizeNumber)
	}
	b, err := readBound(w.value, ">=", sizeNumber)
	return found(b.holds(v.size), w.property, spelled(w.value, ">="), showSize(v.size)), err
}

func (v volume) boundless(w want) (Finding, error) {
	left, otherwise := 0.0, "<="
	if w.property == "inodes-free" {
		left, otherwise = math.Inf(1), ">="
	}
	a, err := readAmount(w.value, otherwise, plainNumber)
	if a.percent {
		left = min(left, 100)
	}
	return found(a.holds(left), w.property, spelled(w.value, otherwise), "no limit"), err
}

func showCount(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }
