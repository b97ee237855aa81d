package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/pkg/sftp"
)

// ErrNotAFile says that a path on the node is a directory, or another thing
// that has no content to copy.
var ErrNotAFile = errors.New("not a regular file")

// LocalError says that the trouble is on this host, not on the node.
type LocalError struct{ Err error }

func (e *LocalError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *LocalError) Unwrap() error { return e.Err }

// Fetch copies the node's file from to the local file to: temporary name, sync,
// rename. It gives the file's size. fs.ErrNotExist when it is not there.
// progress may be nil. As for Deliver, a ctx that is done ends it soon.
func Fetch(ctx context.Context, far Far, from, to string, progress func(done, total int64)) (int64, error) {
	// A rename would take the place of a device too: of /dev/null, for root.
	if info, err := os.Stat(to); err == nil && !info.Mode().IsRegular() {
		return 0, &LocalError{fmt.Errorf("%s is %s", to, kind(info.Mode()))}
	}
	out, err := renameio.NewPendingFile(to, renameio.WithTempDir(filepath.Dir(to)), renameio.WithPermissions(0o600))
	if err != nil {
		return 0, &LocalError{err}
	}
	client, err := far.SFTP(ctx)
	if err != nil {
		_ = out.Cleanup()
		return 0, err
	}
	defer func() { _ = within(context.Background(), client.Close) }()

	f := fetching{from: from, meter: meter{report: progress}}
	defer f.meter.stop()
	err = within(ctx, func() error { return f.copy(ctx, client, out) })
	if err == nil && ctx.Err() == nil {
		if err := errors.Join(out.Chmod(f.info.Mode().Perm()), out.CloseAtomicallyReplace()); err != nil {
			_ = out.Cleanup()
			return 0, &LocalError{err}
		}
		f.meter.done()
		return f.info.Size(), nil
	}
	_ = out.Cleanup()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return 0, err
}

type fetching struct {
	from  string
	info  fs.FileInfo
	meter meter
}

func (f *fetching) copy(ctx context.Context, client *sftp.Client, out io.Writer) error {
	// Before it is opened: a FIFO would block the file server.
	info, err := client.Stat(f.from)
	if err != nil {
		return fmt.Errorf("%s: %w", f.from, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", f.from, ErrNotAFile)
	}
	in, err := client.Open(f.from)
	if err != nil {
		return fmt.Errorf("%s: %w", f.from, err)
	}
	defer in.Close()
	f.info, f.meter.total = info, info.Size()
	w := &writing{ctx: ctx, w: out, meter: &f.meter, left: info.Size()}
	n, err := in.WriteTo(w)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case w.grew:
		return fmt.Errorf("%s changed while it was read", f.from)
	case w.err != nil:
		return w.err
	case err != nil:
		return fmt.Errorf("%s: %w", f.from, err)
	}
	after, err := client.Stat(f.from)
	if err != nil || n != info.Size() || after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime()) {
		return fmt.Errorf("%s changed while it was read", f.from)
	}
	return nil
}

// writing is the local file that a fetch fills: it ends with its ctx, counts,
// and takes no more than was announced.
type writing struct {
	ctx   context.Context
	w     io.Writer
	left  int64
	grew  bool
	err   error // of this side, not of the node
	meter *meter
}

func (w *writing) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if w.left -= int64(len(p)); w.left < 0 {
		w.grew = true
		return 0, io.ErrShortWrite
	}
	n, err := w.w.Write(p)
	w.meter.add(int64(n))
	if err != nil {
		w.err = &LocalError{err}
	}
	return n, err
}
