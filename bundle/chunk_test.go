package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// random gives n bytes that do not shrink, the same each time for a seed.
func random(n int, seed byte) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{seed})
	_, _ = r.Read(p) // never fails
	return p
}

func fingerprintOf(t *testing.T, p []byte) []Chunk {
	t.Helper()
	sum, chunks, err := fingerprint(context.Background(), bytes.NewReader(p), int64(len(p)))
	want := sha256.Sum256(p)
	if err != nil || sum != hex.EncodeToString(want[:]) {
		t.Fatalf("%d bytes: got sha256 %s (%v)", len(p), sum, err)
	}
	return chunks
}

func TestChunksAreTheWholeFile(t *testing.T) {
	for _, n := range []int{0, 1, chunkMin - 1, chunkMin, chunkMin + 1, chunkMax, chunkMax + 1, 64 * chunkMax, 64*chunkMax + 1, 5 << 20} {
		for _, p := range [][]byte{random(n, 1), make([]byte, n)} {
			chunks := fingerprintOf(t, p)
			rest := p
			for i, c := range chunks {
				if c.Len <= 0 || c.Len > chunkMax || c.Len < chunkMin && i < len(chunks)-1 {
					t.Fatalf("%d bytes: chunk %d has %d", n, i, c.Len)
				}
				if c.Sum != sumOf(rest[:c.Len]) {
					t.Fatalf("%d bytes: chunk %d is not of its bytes", n, i)
				}
				rest = rest[c.Len:]
			}
			if len(rest) > 0 {
				t.Fatalf("%d bytes: %d are in no chunk", n, len(rest))
			}
			back, err := unpackChunks(packChunks(chunks), int64(n))
			if err != nil || !slices.Equal(back, chunks) {
				t.Fatalf("%d bytes: the list does not come back as it was: %v", n, err)
			}
			// It does not matter how the bytes come.
			_, again, err := fingerprint(context.Background(), iotest.OneByteReader(bytes.NewReader(p[:min(n, 200<<10)])), int64(min(n, 200<<10)))
			if want := fingerprintOf(t, p[:min(n, 200<<10)]); err != nil || !slices.Equal(again, want) {
				t.Fatalf("%d bytes: byte by byte the chunks are others: %v", n, err)
			}
		}
	}
	if got, want := len(fingerprintOf(t, random(16<<20, 1))), 16<<20/chunkUsual; got < want/2 || got > want*2 {
		t.Errorf("got %d chunks of 16 MiB, want about %d", got, want)
	}
}

// Of a change in many places, little more than those places is new.
func TestChunksAroundAChange(t *testing.T) {
	old := random(8<<20, 1)
	has := map[uint64]bool{}
	for _, c := range fingerprintOf(t, old) {
		has[c.Sum] = true
	}
	for _, tt := range []struct {
		name string
		p    []byte
		most int64 // bytes that are new
	}{
		{"an insertion", slices.Concat(old[:3<<20], []byte("a few bytes"), old[3<<20:]), 3 * chunkMax},
		{"a removal", slices.Concat(old[:3<<20], old[3<<20+1000:]), 3 * chunkMax},
		{"another end", slices.Concat(old, random(100<<10, 2)), 100<<10 + 2*chunkMax},
	} {
		var fresh int64
		for _, c := range fingerprintOf(t, tt.p) {
			if !has[c.Sum] {
				fresh += c.Len
			}
		}
		if fresh > tt.most {
			t.Errorf("%s: %d bytes are new, want at most %d", tt.name, fresh, tt.most)
		}
	}
	// 1 % in places of 4 KiB.
	p := slices.Clone(old)
	for i := range len(p) / 100 / 4096 {
		copy(p[i*100*4096+777:], random(4096, byte(i)))
	}
	var fresh int64
	for _, c := range fingerprintOf(t, p) {
		if !has[c.Sum] {
			fresh += c.Len
		}
	}
	if fresh > int64(len(p))*35/1000 {
		t.Errorf("1 %% was changed, and %.2f %% is new", 100*float64(fresh)/float64(len(p)))
	}
}

func TestBadListsOfChunks(t *testing.T) {
	good := packChunks([]Chunk{{10, 1}, {20, 2}})
	for name, tt := range map[string]struct {
		p    []byte
		size int64
	}{
		"cut":       {good[:len(good)-1], 30},
		"short":     {good, 31},
		"long":      {good, 29},
		"empty one": {packChunks([]Chunk{{0, 1}}), 0},
		"too large": {packChunks([]Chunk{{chunkMax + 1, 1}}), chunkMax + 1},
	} {
		if c, err := unpackChunks(tt.p, tt.size); err == nil {
			t.Errorf("%s: got %v, want an error", name, c)
		}
	}
	if _, _, err := fingerprint(context.Background(), bytes.NewReader([]byte("abc")), 4); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that has shrunk: got %v", err)
	}
}

func BenchmarkFingerprint(b *testing.B) {
	p := random(64<<20, 1)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, _, err := fingerprint(context.Background(), bytes.NewReader(p), int64(len(p))); err != nil {
			b.Fatal(err)
		}
	}
}
