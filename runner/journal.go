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
	"time"

	"example.org/conc/jobs"
)

// JournalVersion is the version of the journal's format that this program
// writes, and the newest that it reads.
const JournalVersion = 1

// Record is one line of a journal. A begin is on disk before its op starts, an
// end before its status is told to anyone; a begin without an end is a step in
// doubt. No secret is ever in one.
type Record struct {
	V      int          `json:"v"`
	Type   string       `json:"type"` // "plan", "begin" or "end"
	Time   time.Time    `json:"ts"`
	Run    string       `json:"run,omitempty"`    // plan
	Digest string       `json:"digest,omitempty"` // plan
	Step   int          `json:"step,omitempty"`
	Name   string       `json:"name,omitempty"`
	Result *jobs.Result `json:"result,omitempty"` // end
}

// Journal is a run's journal on one host, open for writing. It is safe for
// concurrent use.
type Journal struct {
	mu sync.Mutex
	f  *os.File
}

// CreateJournal makes the journal of a run, or goes on with the one that is
// there after cutting a torn last line off. Its folder is made 0700, the file
// 0600.
func CreateJournal(path, run, digest string) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	_, whole, _, err := readJournal(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{f: f}
	if err := j.start(whole, Record{Type: "plan", Run: run, Digest: digest}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *Journal) start(whole int64, plan Record) error {
	if err := j.f.Truncate(whole); err != nil {
		return err
	}
	if _, err := j.f.Seek(whole, io.SeekStart); err != nil {
		return err
	}
	if err := j.write(plan); err != nil {
		return err
	}
	return syncDir(filepath.Dir(j.f.Name()))
}

// Begin records that a step is about to run; it is on disk when Begin returns.
func (j *Journal) Begin(step int, name string) error {
	return j.write(Record{Type: "begin", Step: step, Name: name})
}

// End records how a step ended; it is on disk when End returns.
func (j *Journal) End(r jobs.Result) error {
	r.Tail = nil // the output has a file of its own
	return j.write(Record{Type: "end", Step: r.Step, Result: &r})
}

// Close closes the file; what was recorded is on disk already.
func (j *Journal) Close() error { return j.f.Close() }

func (j *Journal) write(rec Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	rec.V = JournalVersion
	rec.Time = time.Now().UTC()
	line, err := seal(rec)
	if err != nil {
		return err
	}
	if _, err := j.f.Write(line); err != nil {
		return err
	}
	return j.f.Sync()
}

// crcField parts a line's record from its checksum, which covers all before it.
const crcField = `,"crc":"`

// seal encodes a record as a line that ends with a CRC-32 of what is before it.
func seal(rec Record) ([]byte, error) {
	b, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	b = b[:len(b)-1] // the closing brace comes after the checksum
	return fmt.Appendf(b, "%s%08x\"}\n", crcField, crc32.ChecksumIEEE(b)), nil
}

// unseal checks and decodes a line without its newline.
func unseal(line []byte) (Record, error) {
	var rec Record
	i := bytes.LastIndex(line, []byte(crcField))
	if i < 0 || string(line[i:]) != fmt.Sprintf("%s%08x\"}", crcField, crc32.ChecksumIEEE(line[:i])) {
		return rec, errors.New("the checksum does not match")
	}
	if err := json.Unmarshal(line, &rec); err != nil {
		return rec, err
	}
	if rec.V > JournalVersion {
		return rec, fmt.Errorf("format %d was written by a newer conc; this one reads up to %d", rec.V, JournalVersion)
	}
	return rec, nil
}

// ReadJournal gives a journal's records. torn tells that the last line was cut
// short, as a crash leaves it, and dropped; damage anywhere else is an error
// that names the line.
func ReadJournal(path string) (records []Record, torn bool, err error) {
	records, _, torn, err = readJournal(path)
	return records, torn, err
}

func readJournal(path string) (records []Record, whole int64, torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	in := bufio.NewReader(f)
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
