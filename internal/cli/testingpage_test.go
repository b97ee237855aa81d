package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// codeBlocks gives all blocks of a language in a page of the manual.
func codeBlocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "manual", page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, rest := range strings.Split(string(text), ".. code-block:: "+language+"\n\n")[1:] {
		var b strings.Builder
		for line := range strings.Lines(rest) {
			code, ok := strings.CutPrefix(line, "   ")
			if !ok && line != "\n" {
				break
			}
			if !ok {
				code = "\n"
			}
			b.WriteString(code)
		}
		blocks = append(blocks, strings.TrimRight(b.String(), "\n")+"\n")
	}
	return blocks
}

// The Go of the page "Testing a deploy" compiles, and its tests pass.
func TestThePageOnTestingCompiles(t *testing.T) {
	t.Parallel()
	blocks := codeBlocks(t, "testing.rst", "go")
	if len(blocks) < 7 {
		t.Fatalf("the page has %d blocks of Go", len(blocks))
	}
	o := newOperator(t, &testnode.Node{SSHDir: t.TempDir()}, "")
	dir := o.goProject(map[string]string{
		"devops.go":      blocks[0],
		"devops_test.go": strings.Join(blocks[1:], "\n"),
	})
	cmd := exec.Command("go", "test", "-count=1", ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The rehearsal on the page shows what it says that it shows.
func TestThePageOnTestingRehearses(t *testing.T) {
	t.Parallel()
	o := newOperator(t, &testnode.Node{SSHDir: t.TempDir()}, "")
	ini := codeBlocks(t, "testing.rst", "ini")[0]
	o.write("deploy.ini", ini)
	o.write("catalogue.db", strings.Repeat("new", 20_000))
	o.write("rehearse/node/catalogue.db", strings.Repeat("old", 20_000))
	command, want, _ := strings.Cut(codeBlocks(t, "testing.rst", "console")[0], "\n")
	r := o.want(1, strings.Fields(command)[2:]...)
	if r.out != want {
		t.Errorf("got\n%s\nwant, as the page has it,\n%s", r.out, want)
	}

	var better strings.Builder
	for line := range strings.Lines(ini) {
		switch {
		case strings.HasPrefix(line, "deliver "):
			continue
		case strings.HasPrefix(line, "copy "):
			line = "copy = local put catalogue.db catalogue.db\n"
		}
		better.WriteString(line)
	}
	o.write("deploy.ini", better.String())
	o.want(0, strings.Fields(command)[2:]...)
}
