package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// unpacker reads numbers and bytes that were put one behind the other. What is
// not there is zero, and bad.
type unpacker struct {
	left []byte
	bad  bool
}

func (u *unpacker) uint() uint64 {
	v, n := binary.Uvarint(u.left)
	if n <= 0 {
		u.left, u.bad = nil, true
		return 0
	}
	u.left = u.left[n:]
	return v
}

func (u *unpacker) bytes(n uint64) []byte {
	if n > uint64(len(u.left)) {
		u.left, u.bad = nil, true
		return nil
	}
	p := u.left[:n]
	u.left = u.left[n:]
	return p
}

// packedManifest is how a manifest travels: as lines of JSON it would be three
// times as long, and take most of the time of a delivery that finds all there.
type packedManifest struct {
	Root  string `json:"root"`
	Files []byte `json:"files,omitempty"` // zstd: their sizes, modes and names; then the sums, zero where it is not known
}

// maxManifest bounds what a packed manifest may become.
const maxManifest = 64 << 20

var manifestDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, _ := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxManifest), zstd.WithDecoderConcurrency(1)) // the options are good ones
	return d
})

// MarshalJSON packs the manifest.
func (m Manifest) MarshalJSON() ([]byte, error) {
	p := packedManifest{Root: m.Root}
	if len(m.Files) == 0 {
		return json.Marshal(p)
	}
	var names, sums []byte
	for _, f := range m.Files {
		sum, err := hex.DecodeString(f.SHA256)
		if f.SHA256 == "" {
			sum = make([]byte, sha256.Size)
		}
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("%q has no sha256", f.Path)
		}
		names = binary.AppendUvarint(names, uint64(f.Size))
		names = binary.AppendUvarint(names, uint64(f.Mode))
		names = append(binary.AppendUvarint(names, uint64(len(f.Path))), f.Path...)
		sums = append(sums, sum...)
	}
	all := append(binary.AppendUvarint(nil, uint64(len(m.Files))), names...)
	p.Files = encoders().EncodeAll(append(all, sums...), nil)
	return json.Marshal(p)
}

// UnmarshalJSON unpacks one. Nothing in it is believed: a length is bounded by
// what there is.
func (m *Manifest) UnmarshalJSON(data []byte) error {
	var p packedManifest
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	*m = Manifest{Root: p.Root}
	if len(p.Files) == 0 {
		return nil
	}
	raw, err := manifestDecoder().DecodeAll(p.Files, nil)
	if err != nil {
		return fmt.Errorf("a manifest that cannot be read: %w", err)
	}
	in := unpacker{left: raw}
	n := in.uint()
	if n > uint64(len(raw))/sha256.Size {
		return errors.New("a manifest of more files than it has room for")
	}
	m.Files = make([]File, n)
	for i := range m.Files {
		f := &m.Files[i]
		f.Size, f.Mode = int64(in.uint()), fs.FileMode(in.uint())
		f.Path = string(in.bytes(in.uint()))
	}
	for i := range m.Files {
		if sum := in.bytes(sha256.Size); !bytes.Equal(sum, make([]byte, sha256.Size)) {
			m.Files[i].SHA256 = hex.EncodeToString(sum)
		}
	}
	if in.bad || len(in.left) > 0 {
		return errors.New("a manifest that is cut short, or too long")
	}
	return nil
}
