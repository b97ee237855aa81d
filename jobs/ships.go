package jobs

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
)

// Shipper is a local op that moves files between the hosts. Ships says, before
// the node is reached, how many bytes those may be: an estimate, by which
// channels are opened in time. What it cannot say is 0.
type Shipper interface {
	Ships(ctx context.Context, env *Env) int64
}

// manyBytes is where an estimate ends: more bytes make no more channels.
const manyBytes = 64 << 20

// Ships adds up the sources.
func (d Deliver) Ships(ctx context.Context, env *Env) int64 {
	var sum int64
	for _, pattern := range d.Sources {
		found, err := env.Glob(pattern)
		if err != nil {
			return 0
		}
		for _, name := range found {
			if sum += sizeOf(ctx, name); sum >= manyBytes {
				return sum
			}
		}
	}
	return sum
}

// Ships is the source's size.
func (p Put) Ships(ctx context.Context, env *Env) int64 {
	name, err := p.source(env)
	if err != nil {
		return 0
	}
	return sizeOf(ctx, name)
}

// Ships cannot know the file; that there is one makes a channel worth it.
func (f Fetch) Ships(context.Context, *Env) int64 { return 1 << 20 }

// sizeOf gives the size of a file, or of those below a directory.
func sizeOf(ctx context.Context, name string) int64 {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return 0
	case !info.IsDir():
		return info.Size()
	}
	var sum int64
	_ = filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil || sum >= manyBytes {
			return fs.SkipAll
		}
		if d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}
