// Package store keeps the shop's orders in one file, and knows what the file
// looked like in each release. It is the application's business logic: the
// service uses it, and so does the deploy, on the node.
package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Newest is the newest release of the shop.
const Newest = "1.1"

// schemas is the schema that each release reads and writes.
var schemas = map[string]int{
	"1.0": 1, // {"id":1,"item":"tea","price":"3.50"}
	"1.1": 2, // {"id":1,"item":"tea","cents":350}
}

// SchemaOf gives the schema of a release's data.
func SchemaOf(release string) (int, error) {
	if schema, ok := schemas[release]; ok {
		return schema, nil
	}
	return 0, fmt.Errorf("there is no release %q of the shop", release)
}

// Order is one order, whatever the schema that it is written in.
type Order struct {
	ID    int
	Item  string
	Cents int
}

// Data is all that is in a data directory. Schema 0 means that there is nothing.
type Data struct {
	Schema int
	Orders []Order
}

// The file's first line is a header; each of the others is an order.
const name = "orders.jsonl"

type header struct {
	Schema int `json:"schema"`
}

// line is an order in either schema.
type line struct {
	ID    int    `json:"id"`
	Item  string `json:"item"`
	Price string `json:"price,omitempty"` // schema 1
	Cents *int   `json:"cents,omitempty"` // schema 2
}

// Read reads the data in dir, in any schema that it knows.
func Read(dir string) (Data, error) {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Data{}, nil
	}
	if err != nil {
		return Data{}, err
	}
	var d Data
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		if n == 1 {
			var h header
			if err := json.Unmarshal(lines.Bytes(), &h); err != nil || h.Schema < 1 || h.Schema > len(schemas) {
				return Data{}, fmt.Errorf("%s:1: not the header of a schema that this release knows", path)
			}
			d.Schema = h.Schema
			continue
		}
		o, err := parse(lines.Bytes(), d.Schema)
		if err != nil {
			return Data{}, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		d.Orders = append(d.Orders, o)
	}
	return d, lines.Err()
}

func parse(text []byte, schema int) (Order, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Order{}, err
	}
	o := Order{ID: l.ID, Item: l.Item}
	switch {
	case schema == 1:
		euros, cents, _ := strings.Cut(l.Price, ".")
		n, err := strconv.ParseUint(euros+cents, 10, 31)
		if err != nil || len(cents) != 2 {
			return Order{}, fmt.Errorf("order %d: %q is not a price like 3.50", l.ID, l.Price)
		}
		o.Cents = int(n)
	case l.Cents == nil:
		return Order{}, fmt.Errorf("order %d has no price", l.ID)
	default:
		o.Cents = *l.Cents
	}
	return o, nil
}

func format(o Order, schema int) ([]byte, error) {
	l := line{ID: o.ID, Item: o.Item}
	if schema == 1 {
		l.Price = fmt.Sprintf("%d.%02d", o.Cents/100, o.Cents%100)
	} else {
		l.Cents = &o.Cents
	}
	text, err := json.Marshal(l)
	return append(text, '\n'), err
}

// Store is a data directory in use. It is not safe for concurrent use.
type Store struct {
	Data

	lock *os.File
	file *os.File
}

// Open opens the data in dir for a release whose schema this is, and locks it;
// it makes them where there are none. Data of another schema are refused: to
// change them is the deploy's business, not something that a start does.
func Open(dir string, schema int) (_ *Store, err error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	d, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if d.Schema == 0 {
		d.Schema = schema
		if err := write(dir, d, nil); err != nil {
			return nil, err
		}
	}
	if d.Schema != schema {
		return nil, fmt.Errorf("the data in %s have schema %d, and this release wants %d", dir, d.Schema, schema)
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(lock, os.Getpid()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Store{Data: d, lock: lock, file: file}, nil
}

// Add adds an order, which gets the next number. It is on the disk when Add
// returns.
func (s *Store) Add(item string, cents int) (Order, error) {
	o := Order{ID: len(s.Orders) + 1, Item: item, Cents: cents}
	text, err := format(o, s.Schema)
	if err != nil {
		return Order{}, err
	}
	if _, err := s.file.Write(text); err != nil {
		return Order{}, err
	}
	s.Orders = append(s.Orders, o)
	return o, s.file.Sync()
}

// Close gives the data back.
func (s *Store) Close() error { return errors.Join(s.file.Close(), s.lock.Close()) }
