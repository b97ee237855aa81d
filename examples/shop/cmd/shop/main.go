// Command shop is the web service, and what starts and stops it on a node.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"example.org/shop/store"
)

// release is what this program was built as; pack.sh sets it.
var release = store.Newest

// conf is shop.conf. Paths start where the program is started.
type conf struct {
	Listen string `json:"listen"` // HOST:PORT
	Data   string `json:"data"`   // the directory of the orders, and of the log
	Other  string `json:"other"`  // URL of the other shop
}

func readConf(name string) (c conf, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return c, err
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

func main() {
	// A deploy judges a step by its exit status: that is the interface of these
	// commands, and what they print is for people.
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 2 && args[0] == "start":
		return start(args[1])
	case len(args) == 2 && args[0] == "stop":
		return stop(args[1])
	case len(args) == 3 && args[0] == "migrate":
		schema, err := store.SchemaOf(args[2])
		if err != nil {
			return err
		}
		n, err := store.Migrate(args[1], schema, nil)
		if err == nil {
			fmt.Println(n, "orders rewritten, schema", schema)
		}
		return err
	}
	return errors.New("usage: shop serve CONF | start CONF | stop CONF | migrate DATA RELEASE")
}
