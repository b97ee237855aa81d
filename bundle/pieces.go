package bundle

import (
	"context"
	"errors"
	"io"
	"os"
)

// sort parts what is wanted into pieces that go by themselves, and those that go
// in packs: the small ones, and those that can be made smaller.
func (d *delivery) sort() (whole, small []slice, err error) {
	for _, w := range d.wants {
		f := d.m.Files[w.Index]
		ranges := w.Ranges
		if len(ranges) == 0 {
			ranges = []Range{{0, f.Size}}
		}
		shrinks, looked := false, false
		for _, r := range ranges {
			if r.Len >= large && !looked {
				looked = true
				if shrinks, err = d.shrinks(w.Index); err != nil {
					return nil, nil, err
				}
			}
			if r.Len >= large && !shrinks {
				whole = append(whole, slice{w.Index, r})
			} else {
				small = append(small, slice{w.Index, r})
			}
		}
	}
	return whole, small, nil
}

// shrinks looks at three places of a file.
func (d *delivery) shrinks(i int) (bool, error) {
	in, err := d.open(i)
	if err != nil {
		return false, err
	}
	defer in.Close()
	size := d.m.Files[i].Size
	buf, packed, raw := make([]byte, 32<<10), 0, 0
	for _, at := range []int64{0, size / 2, size - min(size, int64(len(buf)))} {
		n, err := in.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		raw += n
		packed += len(encoders().EncodeAll(buf[:n], nil))
	}
	return packed < raw*7/10, nil
}

// packOne makes one pack of all the slices.
func (d *delivery) packOne(ctx context.Context, small []slice) ([]byte, error) {
	p := &packer{}
	for _, s := range small {
		if err := d.record(ctx, p, s, nil); err != nil {
			return nil, err
		}
	}
	return p.finish(), nil
}

// record reads a slice into a pack; full, if it is set, is called whenever the
// pack has grown.
func (d *delivery) record(ctx context.Context, p *packer, s slice, full func() error) error {
	in, err := d.open(s.index)
	if err != nil {
		return err
	}
	defer in.Close()
	buf := make([]byte, min(s.Len, blockSize))
	for done := int64(0); done < s.Len || s.Len == 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf = buf[:min(s.Len-done, blockSize)]
		if _, err := in.ReadAt(buf, s.At+done); err != nil && (!errors.Is(err, io.EOF) || len(buf) > 0) {
			return d.readError(s.index, err)
		}
		p.record(s.index, s.At+done, buf)
		done += int64(len(buf))
		if full != nil {
			if err := full(); err != nil {
				return err
			}
		}
		if s.Len == 0 {
			break
		}
	}
	return d.still(s.index, in)
}

// open opens a source, as it was when it was read first.
func (d *delivery) open(i int) (*os.File, error) {
	in, info, err := OpenRegular(d.sources[i].Local)
	if err != nil {
		return nil, err
	}
	if !same(info, d.infos[i]) {
		_ = in.Close()
		return nil, changed(d.sources[i].Local)
	}
	return in, nil
}

// still makes sure that a source is what it was: the file that was read, and,
// since that may have been replaced by another one, what is under its name.
func (d *delivery) still(i int, in *os.File) error {
	byPath, err := os.Stat(d.sources[i].Local)
	if info, serr := in.Stat(); err != nil || serr != nil || !same(info, d.infos[i]) || !same(byPath, d.infos[i]) {
		return changed(d.sources[i].Local)
	}
	return nil
}

func (d *delivery) readError(i int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return changed(d.sources[i].Local)
	}
	return err
}
