package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"example.org/conc/jobs"
)

// JournalVersion is the version of the journal's format that this program
// writes, and the newest that it reads.
const JournalVersion = 1

// MaxJournal is the size in bytes up to which a journal is read. None that conc
// writes comes near to it.
const MaxJournal = 16 << 20

// line is a record as it is written.
type line struct {
	V int `json:"v"`
	jobs.Record
}

// Journal is a run's journal on one host, open for writing. It is safe for
// concurrent use.
type Journal struct {
	mu    sync.Mutex
	f     *os.File
	whole int64 // bytes of it that are whole lines
}

// OpenJournal makes the journal of a run, or goes on with the one that is there,
// after cutting a torn last line off. Its folder is made 0700, the file 0600.
// Damage anywhere else is an error: what cannot be read is not written on.
func OpenJournal(path string) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	_, whole, _, err := readJournal(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{f: f, whole: whole}
	if err := errors.Join(f.Truncate(whole), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// Record adds records, which are on disk when it returns. One without a time
// gets the present one. The output of a step has a file of its own, and is left
// out.
func (j *Journal) Record(records ...jobs.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []byte
	for _, r := range records {
		if r.Time.IsZero() {
			r.Time = time.Now().UTC()
		}
		if r.Result != nil {
			brief := *r.Result
			brief.Tail = nil
			r.Result = &brief
		}
		text, err := seal(r)
		if err != nil {
			return err
		}
		all = append(all, text...)
	}
	if _, err := j.f.WriteAt(all, j.whole); err != nil {
		// What a full disk has taken of it must not stand before what comes next.
		return errors.Join(err, j.f.Truncate(j.whole))
	}
	j.whole += int64(len(all))
	return j.f.Sync()
}

// Close closes the file; what was recorded is on disk already.
func (j *Journal) Close() error { return j.f.Close() }

// crcField parts a line's record from its checksum, which covers all before it.
const crcField = `,"crc":"`

// seal encodes a record as a line that ends with a CRC-32 of what is before it.
func seal(r jobs.Record) ([]byte, error) { return sealAs(JournalVersion, r) }

func sealAs(version int, r jobs.Record) ([]byte, error) {
	b, err := json.Marshal(line{V: version, Record: r})
	if err != nil {
		return nil, err
	}
	b = b[:len(b)-1] // the closing brace comes after the checksum
	return fmt.Appendf(b, "%s%08x\"}\n", crcField, crc32.ChecksumIEEE(b)), nil
}

// unseal checks and decodes a line without its newline.
func unseal(text []byte) (jobs.Record, error) {
	var l line
	i := bytes.LastIndex(text, []byte(crcField))
	if i < 0 || string(text[i:]) != fmt.Sprintf("%s%08x\"}", crcField, crc32.ChecksumIEEE(text[:i])) {
		return l.Record, errors.New("the checksum does not match")
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return l.Record, err
	}
	if l.V > JournalVersion {
		return l.Record, fmt.Errorf("format %d was written by a newer conc; this one reads up to %d", l.V, JournalVersion)
	}
	return l.Record, nil
}

// ReadJournal gives a journal's records. torn tells that the last line was cut
// short, as a crash leaves it, and dropped; damage anywhere else is an error
// that names the line.
func ReadJournal(path string) (records []jobs.Record, torn bool, err error) {
	records, _, torn, err = readJournal(path)
	return records, torn, err
}

func readJournal(path string) (records []jobs.Record, whole int64, torn bool, err error) {
	// A FIFO is not waited for, and a link not followed: neither is a journal.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, 0, false, fmt.Errorf("%s: damaged: it is a link", path)
	}
	if err != nil {
		return nil, 0, false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	switch fi, err := f.Stat(); {
	case err != nil:
		return nil, 0, false, err
	case !fi.Mode().IsRegular():
		return nil, 0, false, fmt.Errorf("%s: damaged: it is not a regular file", path)
	case fi.Size() > MaxJournal:
		return nil, 0, false, fmt.Errorf("%s: damaged: it is larger than any journal, %d MiB", path, MaxJournal>>20)
	}
	return parseJournal(f, path)
}

// ParseJournal is ReadJournal for a journal that is not a file here; name is
// what an error calls it.
func ParseJournal(r io.Reader, name string) (records []jobs.Record, torn bool, err error) {
	records, _, torn, err = parseJournal(r, name)
	return records, torn, err
}

func parseJournal(r io.Reader, path string) (records []jobs.Record, whole int64, torn bool, err error) {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return records, whole, len(line) > 0, nil
		}
		if err != nil {
			return nil, 0, false, err
		}
		rec, err := unseal(line[:len(line)-1])
		if err != nil {
			return nil, 0, false, fmt.Errorf("%s:%d: damaged: %w", path, n, err)
		}
		records = append(records, rec)
		whole += int64(len(line))
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
