package bundle

import (
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
)

// A large file that was never read is asked about by its size, and sent while it
// is hashed, when the node has nothing like it. Its manifest has no sum until
// the end; on the node it is gathered under the name of its destination.

// unread is from which size on a file may be asked about so, in bytes.
const unread = 64 << 20

// reading is the hashing of such a file.
type reading struct {
	done chan struct{} // closed when the others are set
	sum  string
	err  error
}

// readLater begins to read the files whose sums are not known.
func (d *delivery) readLater(ctx context.Context) {
	d.later = map[int]*reading{}
	var all []int
	for i, f := range d.m.Files {
		if f.SHA256 == "" {
			d.later[i] = &reading{done: make(chan struct{})}
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return
	}
	go func() { // one after the other: what is sent needs the disk, too
		for _, i := range all {
			r := d.later[i]
			r.sum, r.err = d.readOne(ctx, i)
			close(r.done)
		}
	}()
}

func (d *delivery) readOne(ctx context.Context, i int) (string, error) {
	info, sum, err := d.Index.look(ctx, d.sources[i].Local)
	if err == nil && !same(info, d.infos[i]) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = changed(d.sources[i].Local)
	}
	return sum, err
}

// sums waits for those that were not known, and gives them by index.
func (d *delivery) sums(ctx context.Context) (map[int]string, error) {
	all := map[int]string{}
	for _, i := range slices.Sorted(maps.Keys(d.later)) {
		r := d.later[i]
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if r.err != nil {
			return nil, r.err
		}
		all[i], d.m.Files[i].SHA256 = r.sum, r.sum
	}
	return all, nil
}

// partial is the name under which a file is gathered.
func (m Manifest) partial(f File) string {
	if f.SHA256 != "" {
		return f.SHA256 + partialEnd
	}
	return m.unreadName(f)
}

func (m Manifest) unreadName(f File) string {
	return "unread-" + sumHex([]byte(path.Join(m.Root, f.Path)))[:32] + partialEnd
}
