package store

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Migrate brings the data in dir to a schema, newer or older, and tells how many
// orders were rewritten: none, when they have that schema already. Nobody else
// may be at work on them: that is ErrInUse.
//
// each is called before each order is written; its error ends the migration, and
// leaves the data as they were. nil is nobody.
func Migrate(dir string, to int, each func(done int) error) (orders int, err error) {
	lock, err := lockDir(dir)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	d, err := Read(dir)
	if err != nil || d.Schema == to {
		return 0, err
	}
	d.Schema = to
	return len(d.Orders), write(dir, d, each)
}

// write replaces the file as a whole: whenever it is cut short, the old file or
// the new one is there. That is what makes a migration repeatable.
func write(dir string, d Data, each func(done int) error) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect once it is renamed
	defer f.Close()           // after an error; what is written is closed below
	w := bufio.NewWriter(f)
	if err := json.NewEncoder(w).Encode(header{d.Schema}); err != nil {
		return err
	}
	for i, o := range d.Orders {
		if each != nil {
			if err := each(i); err != nil {
				return fmt.Errorf("after %d of %d orders: %w", i, len(d.Orders), err)
			}
		}
		text, err := format(o, d.Schema)
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	// The new name is on the disk when its directory is.
	at, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer at.Close()
	return at.Sync()
}
