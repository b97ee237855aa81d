package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
)

// Chunk is a piece of a file whose borders follow from its content, so that an
// insertion moves the borders near it only. Sum is 48 bits of a hash of it: it finds
// pieces that are there already; the file's own sha256 judges.
type Chunk struct {
	Len int64
	Sum uint64
}

// The sizes of chunks, in bytes. A border is where the low bits of a rolling
// hash are zero: more bits below the usual size than above it, so that most
// chunks are near it.
const (
	chunkMin   = 512
	chunkUsual = 2 << 10
	chunkMax   = 16 << 10

	window = 64 // bytes that the rolling hash is of

	maskBelow = 1<<13 - 1
	maskAbove = 1<<9 - 1

	chunkBytes = 8 // of one in a list that travels: 16 bits of length, 48 of sum
)

// gear gives each byte a number for the rolling hash.
var gear = func() (table [256]uint64) {
	for i := range table {
		sum := sha256.Sum256([]byte{byte(i)})
		table[i] = binary.BigEndian.Uint64(sum[:])
	}
	return table
}()

// border gives the length of the first chunk of p. A chunk shorter than
// chunkMax that ends where p ends may go on.
func border(p []byte) int {
	n := min(len(p), chunkMax)
	if n <= chunkMin {
		return n
	}
	var h uint64
	for _, b := range p[chunkMin-window : chunkMin] {
		h = h<<1 + gear[b]
	}
	i := chunkMin
	for usual := min(n, chunkUsual); i < usual; i++ {
		// The high bits have seen the most bytes.
		if h = h<<1 + gear[p[i]]; (h>>40)&maskBelow == 0 {
			return i + 1
		}
	}
	for ; i < n; i++ {
		if h = h<<1 + gear[p[i]]; (h>>40)&maskAbove == 0 {
			return i + 1
		}
	}
	return n
}

// sumOf folds p by multiplications of 64 by 64 bits, eight bytes in each: as good
// as random for what happens to be in files, and ten times as fast as a hash that
// stands up to an attacker. What one could gain here is another full transfer.
func sumOf(p []byte) uint64 {
	h := uint64(len(p)) ^ gear[0]
	for ; len(p) >= 8; p = p[8:] {
		h = fold(h^binary.LittleEndian.Uint64(p), gear[1])
	}
	var rest [8]byte
	copy(rest[:], p)
	h = fold(h^binary.LittleEndian.Uint64(rest[:]), gear[2])
	return fold(h, gear[3]) >> 16
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// eachChunk cuts what r has into chunks, and gives each with its bytes, which
// are only good until it returns.
func eachChunk(ctx context.Context, r io.Reader, tell func(c Chunk, p []byte) error) error {
	buf := make([]byte, 64*chunkMax)
	start, end := 0, 0
	for last := false; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		for !last && end-start < chunkMax {
			if start > 0 {
				end = copy(buf, buf[start:end])
				start = 0
			}
			n, err := io.ReadFull(r, buf[end:])
			end += n
			if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull gives them bare
				last = true
			} else if err != nil {
				return err
			}
		}
		if start == end {
			return nil
		}
		for start < end && (last || end-start >= chunkMax) {
			n := border(buf[start:end])
			if err := tell(Chunk{int64(n), sumOf(buf[start : start+n])}, buf[start:start+n]); err != nil {
				return err
			}
			start += n
		}
	}
}

// fingerprint reads exactly size bytes of r: their sha256 and their chunks.
// io.ErrUnexpectedEOF when there are fewer.
func fingerprint(ctx context.Context, r io.Reader, size int64) (sum string, chunks []Chunk, err error) {
	h := sha256.New()
	var n int64
	err = eachChunk(ctx, io.LimitReader(r, size), func(c Chunk, p []byte) error {
		_, _ = h.Write(p) // never fails
		n += c.Len
		chunks = append(chunks, c)
		return nil
	})
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(h.Sum(nil)), chunks, err
}

// packChunks makes a list that travels.
func packChunks(chunks []Chunk) []byte {
	out := make([]byte, 0, len(chunks)*chunkBytes)
	for _, c := range chunks {
		out = binary.BigEndian.AppendUint64(out, uint64(c.Len)<<48|c.Sum)
	}
	return out
}

// unpackChunks reads a list that came over the line, of a file of that size.
func unpackChunks(p []byte, size int64) ([]Chunk, error) {
	if len(p)%chunkBytes != 0 {
		return nil, fmt.Errorf("a list of chunks of %d bytes", len(p))
	}
	chunks := make([]Chunk, 0, len(p)/chunkBytes)
	for ; len(p) > 0; p = p[chunkBytes:] {
		v := binary.BigEndian.Uint64(p)
		c := Chunk{Len: int64(v >> 48), Sum: v & (1<<48 - 1)}
		if size -= c.Len; c.Len <= 0 || c.Len > chunkMax || size < 0 {
			return nil, fmt.Errorf("a chunk of %d bytes that does not fit", c.Len)
		}
		chunks = append(chunks, c)
	}
	if size != 0 {
		return nil, fmt.Errorf("chunks that are %d bytes short of their file", size)
	}
	return chunks, nil
}
