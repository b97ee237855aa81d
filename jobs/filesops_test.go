package jobs

import (
	"slices"
	"strings"
	"testing"
)

func lookup(t *testing.T, name string) Entry {
	t.Helper()
	e, ok := Stock().Lookup(name)
	if !ok {
		t.Fatalf("no op %s", name)
	}
	return e
}

func TestFileOpsRefuseArguments(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"mkdir", "got 0 arguments, want PATH"},
		{"mkdir a b", "got 2 arguments"},
		{"mkdir a mode=9", "octal"},
		{"mkdir a mode=4755", "octal"},
		{"mkdir a mode=", "mode= has no value"},
		{"mkdir a mode=755 mode=700", "twice"},
		{"mkdir a*", "is a pattern"},
		{"mkdir ~root/x", "another user's home"},
		{"symlink a", "want TARGET LINK"},
		{"symlink a b*", "is a pattern"},
		{"remove", "want PATH..."},
		{"remove tmp/*", "is a pattern"},
		{"move a", "want FROM TO"},
		{"move a b replace replace", "twice"},
		{"keep a/*", "want PATTERN N"},
		{"keep a/* 0", "want a number from 1"},
		{"keep a/* many", "want a number from 1"},
		{"keep a 3", "is no pattern"},
		{"keep a/[ 3", "not a valid pattern"},
		{"untar", "want ARCHIVE"},
		{"untar a strip=x", "strip=x is not a number"},
		{"untar a strip=-1", "strip=-1"},
		{"untar a max=lots", "not a size"},
		{"untar a to=b*", "is a pattern"},
		{"template a", "want SOURCE DESTINATION"},
		{"template a b c", "want SOURCE DESTINATION"},
		{"template a b/", "a directory's name"},
		{"template a b k=1 k=2", "k is given twice"},
		{"template a b 1k=v", "not a key"},
		{"deliver", "want SOURCE..."},
		{"deliver to=x", "want SOURCE..."},
		{"deliver a to=../x", "leads out of the bundle"},
		{"put a", "want SOURCE DESTINATION"},
		{"put a ~/", "a directory's name"},
		{"put a b mode=rw", "octal"},
		{"fetch a", "want SOURCE DESTINATION"},
		{"fetch a* b", "is a pattern"},
		{"fetch a b/", "a directory's name"},
	} {
		words := strings.Fields(c.line)
		if _, err := lookup(t, words[0]).Parse(words[1:]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.line, err, c.want)
		}
	}
	if _, err := lookup(t, "remove").Parse([]string{"a", ""}); err == nil {
		t.Error("remove with an empty path: got no error")
	}
}

func TestFileOpsByHand(t *testing.T) {
	n := newPlace(t, Remote).Node
	for _, c := range []struct {
		words []string
		want  []string
	}{
		{[]string{"mkdir", "my shop", "mode=0750"}, []string{"mkdir -p 'my shop'", "chmod 0750 'my shop'"}},
		{[]string{"mkdir", "~/a b"}, []string{"mkdir -p ~/'a b'"}},
		{[]string{"remove", "-rf", "bundle:x"}, []string{"rm -rf ./-rf", "rm -rf ~/shop-bundle/x"}},
		{[]string{"move", "a", "b"}, []string{"test ! -e b && mv -nT a b"}},
		{[]string{"move", "a", "b", "replace"}, []string{"rm -rf b && mv -T a b"}},
		{[]string{"symlink", "releases/1", "shop/current"}, []string{"ln -s releases/1 shop/current.new && mv -T shop/current.new shop/current"}},
		{[]string{"untar", "setup tools-*.tar.gz"}, []string{`tar -xf ~/shop-bundle/setup\ tools-*.tar.gz -C ~/shop-bundle --no-same-owner --keep-old-files`}},
		{[]string{"untar", "~/a.tar", "to=x", "strip=1", "replace"}, []string{"mkdir -p x", "tar -xf ~/a.tar -C x --no-same-owner --strip-components=1"}},
		{[]string{"template", "a.in", "a.conf", "mode=0600"}, []string{
			"cp ~/shop-bundle/a.in a.conf", "${EDITOR:-vi} a.conf   # fill in what stands in {{ }}", "chmod 0600 a.conf",
		}},
		{[]string{"deliver", "dist/*.tar.gz", "-x"}, []string{"scp -rp -P 2222 -- dist/*.tar.gz ./-x deployer@192.0.2.11:shop-bundle/"}},
		{[]string{"deliver", "a", "to=~/site"}, []string{"ssh -p 2222 deployer@192.0.2.11 'mkdir -p site'", "scp -rp -P 2222 -- a deployer@192.0.2.11:site/"}},
		{[]string{"put", "a", "~/b"}, []string{"scp -p -P 2222 -- a deployer@192.0.2.11:b"}},
		{[]string{"put", "a", "etc/a b", "mode=0600"}, []string{
			"ssh -p 2222 deployer@192.0.2.11 'mkdir -p etc'", "scp -p -P 2222 -- a 'deployer@192.0.2.11:etc/a b'",
			`ssh -p 2222 deployer@192.0.2.11 'chmod 0600 '"'"'etc/a b'"'"''`,
		}},
		{[]string{"fetch", "bundle:log", "log"}, []string{"scp -p -P 2222 -- deployer@192.0.2.11:shop-bundle/log log"}},
		{[]string{"keep", "rel/*", "3", "except=cur"}, []string{
			"ls -ld cur rel/*", `printf '%s\n' rel/* | sort -V | head -n -3   # these may go: rm -rf`,
		}},
	} {
		op, err := lookup(t, c.words[0]).Parse(c.words[1:])
		if err != nil {
			t.Errorf("%v: %v", c.words, err)
			continue
		}
		if got := op.(ByHander).ByHand(n); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %q, want %q", c.words, got, c.want)
		}
	}
}

// Every example of the catalogue parses, and zero ops of a Go list complain
// instead of doing harm.
func TestFileOpsExamples(t *testing.T) {
	for _, name := range []string{"untar", "mkdir", "remove", "move", "symlink", "keep", "template", "deliver", "put", "fetch"} {
		e := lookup(t, name)
		words := strings.Fields(e.Example)
		if words[1] != name {
			t.Errorf("%s: the example is for %s", name, words[1])
		}
		if _, err := e.Parse(words[2:]); err != nil {
			t.Errorf("%s: %v", e.Example, err)
		}
		for _, line := range strings.Split(e.Help, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: a line of the help has %d characters: %s", name, len(line), line)
			}
		}
	}
	for _, op := range []Validator{Untar{}, Mkdir{}, Remove{}, Move{}, Symlink{}, Keep{}, Template{}, Deliver{}, Put{}, Fetch{}} {
		if op.Validate() == nil {
			t.Errorf("%T{}: got no complaint", op)
		}
	}
}
