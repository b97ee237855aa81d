package runner

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.org/conc/jobs"
)

func TestJournalKeepsWhatWasRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs", "r1", "journal")
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Record(jobs.Record{Type: jobs.RecordBegin, Step: 1, Name: "open"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Record(jobs.Record{Type: jobs.RecordEnd, Step: 1, Result: &jobs.Result{Step: 1, Status: jobs.OK, Tail: []string{"not kept"}}}); err != nil {
		t.Fatal(err)
	}
	if err := j.Record(jobs.Record{Type: jobs.RecordBegin, Step: 2, Name: "deliver \"x\"\n"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	records, torn, err := ReadJournal(path)
	if err != nil || torn {
		t.Fatalf("got torn %v, error %v, want neither", torn, err)
	}
	var got []string
	for _, r := range records {
		got = append(got, string(r.Type))
	}
	if want := "begin end begin"; strings.Join(got, " ") != want {
		t.Errorf("got records %v, want %s", got, want)
	}
	if r := records[1].Result; r.Status != jobs.OK || r.Tail != nil {
		t.Errorf("got end %+v, want OK without a tail", r)
	}
	if records[2].Name != "deliver \"x\"\n" {
		t.Errorf("got name %q", records[2].Name)
	}
}

// Whatever byte a crash or a bad disk changes: it is a torn last line, which is
// dropped with a notice, or an error. No record is ever read that was not
// written.
func TestJournalNoticesAnyDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 5; n++ {
		if err := j.Record(jobs.Record{Type: jobs.RecordBegin, Step: n, Name: "step"}); err != nil {
			t.Fatal(err)
		}
		if err := j.Record(jobs.Record{Type: jobs.RecordEnd, Step: n, Result: &jobs.Result{Step: n, Status: jobs.OK}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good, _, _ := ReadJournal(path)

	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(whole)
		cut := rapid.IntRange(0, len(bad)).Draw(t, "cut")
		bad = bad[:cut]
		flipped := -1
		if rapid.Bool().Draw(t, "flip") && cut > 0 {
			flipped = rapid.IntRange(0, cut-1).Draw(t, "at")
			bad[flipped] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		file := filepath.Join(filepath.Dir(path), "bad")
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		records, torn, err := ReadJournal(file)
		lastLine := bytes.LastIndexByte(whole[:cut], '\n') + 1
		if flipped >= 0 && flipped < lastLine-1 && err == nil {
			t.Fatalf("byte %d of %d was changed, and %d records were read without an error", flipped, cut, len(records))
		}
		if flipped < 0 && (err != nil || torn != (cut != lastLine)) {
			t.Fatalf("cut at %d: got torn %v, error %v", cut, torn, err)
		}
		for i, r := range records {
			if r.Type != good[i].Type || r.Step != good[i].Step {
				t.Fatalf("record %d: got %+v, want %+v", i, r, good[i])
			}
		}
	})
}

func TestJournalGoesOnAfterATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Record(jobs.Record{Type: jobs.RecordBegin, Step: 1, Name: "open"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"v":1,"type":"end","st`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	j, err = OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Record(jobs.Record{Type: jobs.RecordEnd, Step: 1, Result: &jobs.Result{Step: 1, Status: jobs.OK}}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	records, torn, err := ReadJournal(path)
	if err != nil || torn || len(records) != 2 {
		t.Errorf("got %d records, torn %v, error %v, want 2 whole ones", len(records), torn, err)
	}
}

func TestJournalRefusesANewerFormat(t *testing.T) {
	text, err := sealAs(JournalVersion+1, jobs.Record{Type: jobs.RecordPlan})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadJournal(path); err == nil || !strings.Contains(err.Error(), "newer conc") {
		t.Errorf("got error %v, want one that says a newer conc wrote it", err)
	}
}
