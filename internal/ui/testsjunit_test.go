package ui

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// element is an element of a schema: its attributes, each with the form of its
// value ("?" before the form: it may be missing), and its children in order.
type element struct {
	attrs    map[string]string
	children []string
	text     bool
}

// junitSchema is testdata/junit.xsd in Go, for machines without xmllint. A child
// is "name", "name*" for any number, or "a|b" for one of them or none.
var junitSchema = map[string]element{
	"testsuites": {children: []string{"testsuite*"}},
	"testsuite": {
		attrs: map[string]string{
			"name": `.+`, "tests": `\d+`, "failures": `\d+`, "errors": `\d+`, "id": `\d+`, "skipped": `?\d+`, "hostname": `\S+`, "package": `\S*`,
			"time": `\d+\.\d+`, "timestamp": `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`,
		},
		children: []string{"properties", "testcase*", "system-out", "system-err"},
	},
	"properties": {children: []string{"property*"}},
	"property":   {attrs: map[string]string{"name": `.+`, "value": `(?s).*`}},
	"testcase": {
		attrs:    map[string]string{"name": `.+`, "classname": `\S+`, "time": `\d+\.\d+`},
		children: []string{"skipped|error|failure"},
	},
	"skipped":    {attrs: map[string]string{"message": `?(?s).*`}, text: true},
	"error":      {attrs: map[string]string{"message": `?(?s).*`, "type": `.+`}, text: true},
	"failure":    {attrs: map[string]string{"message": `?(?s).*`, "type": `.+`}, text: true},
	"system-out": {text: true},
	"system-err": {text: true},
}

// node is an element of a document.
type node struct {
	name     string
	attrs    map[string]string
	children []*node
	text     string
}

func parseXML(text []byte) (*node, error) {
	d := xml.NewDecoder(strings.NewReader(string(text)))
	root := &node{}
	open := []*node{root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		at := open[len(open)-1]
		switch v := token.(type) {
		case xml.StartElement:
			n := &node{name: v.Name.Local, attrs: map[string]string{}}
			for _, a := range v.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			at.children = append(at.children, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			at.text += string(v)
		}
	}
	if len(root.children) != 1 {
		return nil, fmt.Errorf("%d roots", len(root.children))
	}
	return root.children[0], nil
}

// valid holds an element, and all in it, to the schema.
func valid(n *node) error {
	s, ok := junitSchema[n.name]
	if !ok {
		return fmt.Errorf("an element %q", n.name)
	}
	for name, form := range s.attrs {
		form, optional := strings.CutPrefix(form, "?")
		value, there := n.attrs[name]
		if !there && !optional || there && !regexp.MustCompile("^("+form+")$").MatchString(value) {
			return fmt.Errorf("%s: the attribute %s is %q", n.name, name, value)
		}
	}
	for name := range n.attrs {
		if _, ok := s.attrs[name]; !ok {
			return fmt.Errorf("%s: an attribute %q", n.name, name)
		}
	}
	if !s.text && strings.TrimSpace(n.text) != "" {
		return fmt.Errorf("%s: text %q", n.name, n.text)
	}
	rest := n.children
	for _, c := range s.children {
		name, several := strings.CutSuffix(c, "*")
		names := strings.Split(name, "|")
		count := 0
		for len(rest) > 0 && slices.Contains(names, rest[0].name) && (several || count == 0) {
			if err := valid(rest[0]); err != nil {
				return err
			}
			rest = rest[1:]
			count++
		}
		if count == 0 && !several && len(names) == 1 {
			return fmt.Errorf("%s: no %s", n.name, c)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s: a misplaced %s", n.name, rest[0].name)
	}
	return nil
}

func TestJUnit(t *testing.T) {
	lint := tool("xmllint")
	for _, c := range reports {
		t.Run(c.name, func(t *testing.T) {
			text, err := JUnit(c.all)
			if err != nil {
				t.Fatal(err)
			}
			harmless(t, text)
			root, err := parseXML(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if err := valid(root); err != nil {
				t.Errorf("%v\n%.4000s", err, text)
			}
			if lint != "" {
				judge(t, text, lint, "junit.xml", "--noout", "--nonet", "--schema", "testdata/junit.xsd")
			}
			if len(root.children) != len(c.all) {
				t.Fatalf("got %d suites, want %d", len(root.children), len(c.all))
			}
			for i, e := range c.all {
				countCases(t, root.children[i], e)
			}
		})
	}
}

// countCases holds what a suite says of itself to its cases, and to the report.
func countCases(t *testing.T, suite *node, e Examined) {
	t.Helper()
	got := map[string]int{}
	for _, c := range suite.children {
		if c.name == "testcase" {
			got["tests"]++
			for _, o := range c.children {
				got[o.name]++
			}
		}
	}
	want := map[string]int{"tests": len(e.Results)}
	for _, r := range e.Results {
		switch {
		case r.Status == nodetest.Skipped, r.Known:
			want["skipped"]++
		case r.Status == jobs.Failed:
			want["failure"]++
		case r.Bad():
			want["error"]++
		}
	}
	if e.Err != nil {
		want["tests"]++
		want["error"]++
	}
	for name, attr := range map[string]string{"tests": "tests", "failure": "failures", "error": "errors", "skipped": "skipped"} {
		said, _ := strconv.Atoi(suite.attrs[attr])
		if got[name] != want[name] || said != want[name] {
			t.Errorf("%s: got %d, and %s=%q, want %d", name, got[name], attr, suite.attrs[attr], want[name])
		}
	}
}

// What was wanted and found is in the file, readable, whatever it is.
func TestJUnitTellsAll(t *testing.T) {
	text, err := JUnit([]Examined{examined("web1", evil, failed)})
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseXML(text)
	if err != nil {
		t.Fatal(err)
	}
	cases := root.children[0].children
	for _, want := range []string{`a\x1b]52;c;cm0=\x07b\x00c\u202ed\xff]]> <x a="'">&amp; # SKIP`, "ok 9 - forged", `\ufffe`} {
		if got := cases[1].children[0].text; !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	failure := cases[2].children[0]
	if got, want := failure.attrs["message"], "want status 200, got 502 Bad Gateway"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := failure.text, "want status 200\ngot  502 Bad Gateway\ntried 5 times in 5.0s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
