package jobs

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxWindow bounds the memory that a packed stream may ask for. xz -9 asks for
// 64 MiB, zstd --ultra -22 for 128 MiB.
const maxWindow = 256 << 20

// unpacked gives the tar stream inside r, by its first bytes. packed tells
// whether the packing vouches for the stream's end.
func unpacked(r io.Reader) (tar io.Reader, packed bool, closeIt func(), err error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, nil, err
	}
	is := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	nothing := func() {}
	switch {
	case len(head) == 0:
		return nil, false, nil, errors.New("an empty file, not a tar archive")
	case is("\x1f\x8b"):
		z, err := gzip.NewReader(br)
		return z, true, nothing, err
	case is("BZh"):
		return bzip2.NewReader(br), true, nothing, nil
	case is("\xfd7zXZ\x00"):
		if n := xzWindow(head); n > maxWindow {
			return nil, false, nil, fmt.Errorf("xz: it needs %d MiB of memory to unpack, the limit is %d MiB", n>>20, maxWindow>>20)
		}
		z, err := xz.NewReader(br)
		return z, true, nothing, err
	case is("\x28\xb5\x2f\xfd"):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, false, nil, err
		}
		return z, true, z.Close, nil
	case is("PK\x03\x04"):
		return nil, false, nil, errors.New("a zip file, not a tar archive")
	}
	return br, false, nothing, nil
}

// xzWindow reads the dictionary's size from the header of the first block; 0
// when it cannot tell.
func xzWindow(head []byte) int64 {
	const first = 12 // after the stream's header
	if len(head) < first+2 {
		return 0
	}
	flags, rest := head[first+1], head[first+2:]
	for _, there := range []byte{0x40, 0x80} { // packed and unpacked size, variable length
		if flags&there == 0 {
			continue
		}
		for len(rest) > 0 && rest[0]&0x80 != 0 {
			rest = rest[1:]
		}
		rest = rest[min(1, len(rest)):]
	}
	if len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 || rest[2] > 40 {
		return 0
	}
	bits := rest[2]
	return int64(2|bits&1) << (bits/2 + 11)
}

// intake reads the archive's file, ends with its ctx, and tells how far it is.
type intake struct {
	ctx      context.Context
	r        io.Reader
	n, size  int64
	progress func(done, total int64)
}

func (i *intake) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := i.r.Read(p)
	i.n += int64(n)
	if i.progress != nil && n > 0 {
		i.progress(i.n, i.size)
	}
	return n, err
}

// ending watches a tar stream go by, for its end: two blocks of zeros. It
// bounds the stream too: even nothing must not go on for ever.
type ending struct {
	r     io.Reader
	left  int64
	n     int64 // bytes since the last reset
	zeros int64 // of them, at the end
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.n += int64(n)
	if e.left -= int64(n); e.left < 0 {
		return 0, errTooBig
	}
	if tail := int64(n - len(bytes.TrimRight(p[:n], "\x00"))); tail == int64(n) {
		e.zeros += tail
	} else {
		e.zeros = tail
	}
	return n, err
}

// marked tells whether a whole block of zeros was the last thing read.
func (e *ending) marked() bool { return e.n >= 512 && e.zeros >= 512 }

// drain reads what follows a tar archive's end: the packing's checksum is only
// compared there. Only padding may follow.
func drain(r io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return errors.New("there is more data after the archive's end")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
