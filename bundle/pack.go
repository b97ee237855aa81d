package bundle

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A pack is how small pieces of files travel: records, one behind the other, cut
// into blocks, each compressed where that makes it smaller.
//
//	block   its length as it is, its length as it travels (the high bit: zstd),
//	        each 4 bytes, big endian, and what travels
//	record  the file's index (4), the offset in it (8), the length (4), the bytes
const (
	blockHeader  = 8
	recordHeader = 16
	blockSize    = 1 << 20
	zstdBit      = 1 << 31
)

// coders of blocks; they hold no state between blocks.
var (
	encoders = sync.OnceValue(func() *zstd.Encoder {
		e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false)) // the options are good ones
		return e
	})
	decoders = sync.OnceValue(func() *zstd.Decoder {
		d, _ := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(blockSize*2), zstd.WithDecoderConcurrency(0))
		return d
	})
)

// packer makes a pack.
type packer struct {
	out   bytes.Buffer // blocks
	block []byte       // the one that is being filled
	spare []byte
}

// record adds a piece of a file.
func (p *packer) record(index int, at int64, data []byte) {
	p.block = binary.BigEndian.AppendUint32(p.block, uint32(index))
	p.block = binary.BigEndian.AppendUint64(p.block, uint64(at))
	p.block = binary.BigEndian.AppendUint32(p.block, uint32(len(data)))
	p.block = append(p.block, data...)
	for len(p.block) >= blockSize {
		p.flush(blockSize)
	}
}

// flush ends a block of n bytes.
func (p *packer) flush(n int) {
	raw := p.block[:n]
	if n == 0 {
		return
	}
	var h [blockHeader]byte
	binary.BigEndian.PutUint32(h[:], uint32(n))
	p.spare = encoders().EncodeAll(raw, p.spare[:0])
	travels, size := p.spare, uint32(len(p.spare))|zstdBit
	if len(p.spare) > n-n/10 {
		travels, size = raw, uint32(n)
	}
	binary.BigEndian.PutUint32(h[4:], size)
	p.out.Write(h[:])
	p.out.Write(travels)
	p.block = append(p.block[:0], p.block[n:]...)
}

// size is about how large the pack is.
func (p *packer) size() int { return p.out.Len() + len(p.block) }

// finish gives the pack's bytes, and begins another.
func (p *packer) finish() []byte {
	p.flush(len(p.block))
	data := bytes.Clone(p.out.Bytes())
	p.out.Reset()
	return data
}

// unpack reads a pack, and gives each record; its data is only good until take
// returns. Nothing in it is believed: lengths are bounded before they are used.
func unpack(r io.Reader, take func(index int, at int64, data []byte) error) error {
	in := bufio.NewReaderSize(&unblocked{in: bufio.NewReaderSize(r, 256<<10)}, 64<<10)
	var data []byte
	for {
		var h [recordHeader]byte
		if _, err := io.ReadFull(in, h[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("a pack that is cut short: %w", err)
		}
		n := int(binary.BigEndian.Uint32(h[12:]))
		if n > blockSize {
			return fmt.Errorf("a record of %d bytes in a pack", n)
		}
		if cap(data) < n {
			data = make([]byte, n)
		}
		data = data[:n]
		if _, err := io.ReadFull(in, data); err != nil {
			return fmt.Errorf("a pack that is cut short: %w", err)
		}
		at := binary.BigEndian.Uint64(h[4:])
		if at > 1<<62 {
			return errors.New("a record at a wrong place in a pack")
		}
		if err := take(int(binary.BigEndian.Uint32(h[:])), int64(at), data); err != nil {
			return err
		}
	}
}

// unblocked gives what is in the blocks.
type unblocked struct {
	in     io.Reader
	block  []byte
	left   []byte
	packed []byte
}

func (u *unblocked) Read(p []byte) (int, error) {
	for len(u.left) == 0 {
		if err := u.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, u.left)
	u.left = u.left[n:]
	return n, nil
}

func (u *unblocked) next() error {
	var h [blockHeader]byte
	if _, err := io.ReadFull(u.in, h[:]); err != nil {
		return err
	}
	raw, size := binary.BigEndian.Uint32(h[:]), binary.BigEndian.Uint32(h[4:])
	compressed := size&zstdBit != 0
	size &^= zstdBit
	if raw == 0 || raw > blockSize || size == 0 || size > raw || !compressed && size != raw {
		return fmt.Errorf("a block of %d bytes for %d in a pack", size, raw)
	}
	if cap(u.packed) < int(size) {
		u.packed = make([]byte, blockSize)
	}
	u.packed = u.packed[:size]
	if _, err := io.ReadFull(u.in, u.packed); err != nil {
		return fmt.Errorf("a pack that is cut short: %w", io.ErrUnexpectedEOF)
	}
	if !compressed {
		u.left = u.packed
		return nil
	}
	var err error
	if u.block, err = decoders().DecodeAll(u.packed, u.block[:0]); err != nil {
		return fmt.Errorf("a block that cannot be read: %w", err)
	}
	if len(u.block) != int(raw) {
		return fmt.Errorf("a block of %d bytes that says %d", len(u.block), raw)
	}
	u.left = u.block
	return nil
}
