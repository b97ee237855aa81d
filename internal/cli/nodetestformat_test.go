package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		formats []string
		output  string
		json    bool
		want    outputs
	}{
		{want: outputs{screen: "text"}},
		{formats: []string{"text"}, want: outputs{screen: "text"}},
		{json: true, want: outputs{screen: "json"}},
		{formats: []string{"json"}, json: true, want: outputs{screen: "json"}},
		{formats: []string{"junit"}, want: outputs{screen: "junit"}},
		{formats: []string{"tap"}, output: "-", want: outputs{screen: "tap"}},
		{formats: []string{"nagios"}, want: outputs{screen: "nagios", nagios: true}},
		{formats: []string{"text", "junit"}, output: at("a"), want: outputs{screen: "text", files: []outputFile{{"junit", at("a")}}}},
		{formats: []string{"junit"}, output: at("a"), want: outputs{screen: "text", files: []outputFile{{"junit", at("a")}}}},
		{formats: []string{"prometheus=" + at("p"), "junit"}, want: outputs{screen: "junit", files: []outputFile{{"prometheus", at("p")}}}},
		{formats: []string{"text", "prometheus=" + at("p"), "junit"}, output: at("a"), want: outputs{screen: "text", files: []outputFile{{"prometheus", at("p")}, {"junit", at("a")}}}},
		{formats: []string{"tap"}, output: at("a"), json: true, want: outputs{screen: "json", files: []outputFile{{"tap", at("a")}}}},
		{formats: []string{"nagios=" + at("n")}, want: outputs{screen: "text", nagios: true, files: []outputFile{{"nagios", at("n")}}}},
	} {
		got, err := resultOptions{c.formats, c.output}.outputs(c.json)
		if err != nil || got.screen != c.want.screen || got.nagios != c.want.nagios || len(got.files) != len(c.want.files) {
			t.Errorf("%v %q: got %+v, %v, want %+v", c.formats, c.output, got, err, c.want)
			continue
		}
		for i := range got.files {
			if got.files[i] != c.want.files[i] {
				t.Errorf("%v %q: got %+v, want %+v", c.formats, c.output, got, c.want)
			}
		}
	}
}

func TestOutputsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		formats []string
		output  string
		json    bool
		want    string
	}{
		{formats: []string{"xml"}, want: "it is one of text, json"},
		{formats: []string{"junits"}, want: "did you mean junit?"},
		{formats: []string{"junit="}, want: "the file's name is missing"},
		{formats: []string{"text=x"}, want: "text goes to standard output"},
		{formats: []string{"text", "junit"}, want: "junit needs a file"},
		{formats: []string{"junit", "tap"}, want: "one place for junit and tap"},
		{formats: []string{"junit", "tap"}, output: filepath.Join(dir, "x"), want: "one place for junit and tap"},
		{formats: []string{"text"}, output: filepath.Join(dir, "x"), want: "no format is named"},
		{output: filepath.Join(dir, "x"), want: "no format is named"},
		{formats: []string{"text"}, json: true, want: "--json writes JSON where the text would go"},
		{formats: []string{"junit"}, json: true, want: "standard output has the json"},
		{formats: []string{"junit"}, output: dir, want: "it is a directory"},
		{formats: []string{"junit"}, output: filepath.Join(dir, "no", "x"), want: "there is no directory"},
		{formats: []string{"junit=" + dir + "/x", "tap=" + dir + "/./x"}, want: "both junit and tap"},
	} {
		_, err := resultOptions{c.formats, c.output}.outputs(c.json)
		if got := exitCode(err); got != exitUsage {
			t.Errorf("%v %q: got %v, want a usage error", c.formats, c.output, err)
			continue
		}
		if got := err.Error() + "\n" + hintOf(err); !strings.Contains(got, c.want) {
			t.Errorf("%v %q: got %q, want %q in it", c.formats, c.output, got, c.want)
		}
	}
}

// A file is replaced whole; what a link means is, and not the link; a device
// stays one.
func TestResultFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"new", "link"} {
		if name == "link" {
			if err := os.Symlink("new", at("link")); err != nil {
				t.Fatal(err)
			}
		}
		if err := replaceFile(at(name), []byte(name)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(at("new")); string(got) != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	if fi, err := os.Lstat(at("link")); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("got %v, %v, want the link", fi, err)
	}
	if err := replaceFile(os.DevNull, []byte("x")); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(os.DevNull); err != nil || fi.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("got %v, %v, want a device", fi, err)
	}
	if left, _ := filepath.Glob(at(".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestNodetestFormats(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite("here = dir .\ngone = file missing\n")
	xml, prom := filepath.Join(o.dir, "nodetest.xml"), filepath.Join(o.dir, "conc.prom")
	r := o.want(1, "nodetest", "web1", "--format", "text,junit,prometheus="+prom, "--output", xml)
	r.wantLines(t, "FAILED    gone ", "   -> "+prom+", "+xml, "Run one: conc -c "+o.dir+"/deploy.ini nodetest web1 --only gone\n")
	for file, want := range map[string]string{
		xml:  `<testcase name="gone" classname="web1.web"`,
		prom: `conc_check_ok{node="web1",suite="web",check="gone",kind="file"} 0`,
	} {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: got %q, %v, want %q in it", file, text, err, want)
		}
		if fi, err := os.Stat(file); err == nil && fi.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s: got mode %v: node_exporter is somebody else", file, fi.Mode())
		}
	}
	r = o.want(1, "nodetest", "web1", "--format", "tap")
	if want := "TAP version 13\n1..2\nok 1 - web1: here\nnot ok 2 - web1: gone\n"; !strings.HasPrefix(r.out, want) || r.err != "" {
		t.Errorf("got\n%swant %s at its beginning", r, want)
	}
	// What cannot be written is said, and the results are not lost on the screen.
	o.write("ro/x", "")
	r = o.want(6, "nodetest", "web1", "--format", "text,junit", "--output", "/dev/full")
	r.wantLines(t, "FAILED    gone ", "FAILED  web1  1 OK, 1 FAILED")
	if !strings.Contains(r.err, "junit cannot be written") || strings.Contains(r.out, "->") {
		t.Errorf("got\n%s", r)
	}
}

func TestNodetestJSON(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite("here = dir .\ngone = file missing\n")
	for _, args := range [][]string{{"--json"}, {"--format", "json"}} {
		r := o.want(1, append([]string{"nodetest", "web1"}, args...)...)
		all := events(t, r.out)
		var types []string
		for _, e := range all {
			types = append(types, e["type"].(string)+" "+str(e["status"]))
		}
		want := "run_start , check OK, check FAILED, nodetest_end FAILED, run_end FAILED"
		if got := strings.Join(types, ", "); got != want {
			t.Fatalf("got %s, want %s\n%s", got, want, r)
		}
		if got := all[4]["code"]; got != 1.0 {
			t.Errorf("got code %v", got)
		}
	}
	r := o.want(2, "nodetest", "web1", "--only", "x", "--format", "json")
	if all := events(t, r.out); len(all) != 1 || all[0]["type"] != "run_end" || all[0]["code"] != 2.0 {
		t.Errorf("got\n%s", r)
	}
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func TestNodetestForNagios(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	check := func(code int, want string, args ...string) {
		t.Helper()
		r := o.want(code, append([]string{"nodetest", "web1", "--format", "nagios"}, args...)...)
		if !strings.HasPrefix(r.out, "NODETEST "+want) {
			t.Errorf("got\n%s\nwant %s", r, want)
		}
	}
	o.suite("here = dir .\ngone = file missing\nlate = timeout=1s command sleep 60\n")
	check(0, "OK - web1: 1 OK | ok=1;;;0;1 ", "--only", "here")
	check(2, "CRITICAL - web1: 1 OK, 1 FAILED, 1 TIMED OUT: gone, late | ")
	check(3, "UNKNOWN - no check is left", "--only", "x")
	check(3, "UNKNOWN - --retry-timeout x: ", "--retry-timeout", "x")
	check(3, "UNKNOWN - ", "--set", "sshd.port=1")
	check(3, "UNKNOWN - ", "-c", filepath.Join(o.dir, "none.ini"))
	o.write("deploy.ini", "[node:web1\n")
	check(3, "UNKNOWN - ")
}
