package ui

import (
	"strings"
	"testing"
)

// A note that has no room beside its row stands below it; off a terminal each
// row is one line.
func TestNotedFitsTheTerminal(t *testing.T) {
	rows := [][]string{
		{"RUN", "NODE", "STATUS", "NOTE"},
		{"W9QZ3XJ4", "web1", "OK", "gone on with by bob@desk8; 1 step marked by hand"},
		{"W9QZ3XJ5", "web2", "FAILED", ""},
	}
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, "RUN       NODE  STATUS  NOTE\nW9QZ3XJ4  web1  OK      gone on with by bob@desk8; 1 step marked by hand\nW9QZ3XJ5  web2  FAILED\n"},
		{40, "RUN       NODE  STATUS\nW9QZ3XJ4  web1  OK\n    gone on with by bob@desk8; 1 step\n    marked by hand\nW9QZ3XJ5  web2  FAILED\n"},
		{12, "RUN       N…\nW9QZ3XJ4  w…\n    gone on\n    with by\n    bob@desk8;\n    1 step\n    marked\n    by hand\nW9QZ3XJ5  w…\n"},
	} {
		if got := Noted(rows, c.width); got != c.want {
			t.Errorf("in %d columns: got\n%swant\n%s", c.width, got, c.want)
		}
	}
	if got := Noted(rows, 200); got != Noted(rows, 0) || strings.Count(got, "\n") != 3 {
		t.Errorf("where there is room: got\n%s", got)
	}
}
