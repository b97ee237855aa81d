package bundle

import (
	"context"
	"io/fs"

	"github.com/pkg/sftp"
)

// File is one line of a manifest.
type File struct {
	Path   string      `json:"path"` // relative to the manifest's root, slashes, clean, never outside it
	Size   int64       `json:"size"`
	Mode   fs.FileMode `json:"mode"` // permission bits only
	SHA256 string      `json:"sha256"`
}

// Manifest is what a delivery will leave below a directory of the node.
type Manifest struct {
	Root  string `json:"root"` // absolute, on the node
	Files []File `json:"files"`
}

// Source is a local file to deliver.
type Source struct {
	Local string      // path on this host
	Path  string      // in the manifest
	Mode  fs.FileMode // 0: the source's own permission bits
}

// Far is the node as a delivery sees it: a file server, and an agent that
// judges what has arrived.
type Far interface {
	SFTP(ctx context.Context) (*sftp.Client, error)
	Lacking(ctx context.Context, m Manifest) ([]Want, error)
	Settle(ctx context.Context, m Manifest, sent []Want) error
	Home() string   // absolute, on the node
	Bundle() string // absolute, on the node
}

// Want is a file that the node lacks.
type Want struct {
	Index int    `json:"index"` // in Manifest.Files
	Temp  string `json:"temp"`  // absolute: where to send it, beside its destination
}

// Sent says what a delivery did.
type Sent struct {
	Files, Bytes         int64 // of the manifest
	SentFiles, SentBytes int64 // that travelled
}

// Deliver brings sources below root on the node: manifest, what is lacking,
// transfer to temporary names, hash, sync and rename by the agent. progress is
// called with bytes; it may be nil.
func Deliver(ctx context.Context, far Far, root string, sources []Source, progress func(done, total int64)) (Sent, error) {
	panic("contract")
}

// Lacking is the agent's part: it checks the manifest (a path that leaves root
// is an error), removes left-over temporary files of run's, makes the
// directories, and tells which files are not there with the right content. A
// file that has the content but another mode is given the mode.
func Lacking(m Manifest, run string) ([]Want, error) { panic("contract") }

// Settle is the agent's part: each sent file is hashed, synced, given its mode
// and renamed onto its destination, and the directories are synced. A file
// whose hash is not the manifest's is removed and is an error.
func Settle(m Manifest, sent []Want) error { panic("contract") }
