package ui

import (
	"testing"
	"testing/quick"
	"time"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain text, ünïcode 漢字 👍", "plain text, ünïcode 漢字 👍"},
		{"\x1b]52;c;YQ==\a", `\x1b]52;c;YQ==\x07`},
		{"\x1b[2J", `\x1b[2J`},
		{"50%\r100%", `50%\r100%`},
		{"a\tb", "a    b"},
		{"nul \x00 del \x7f", `nul \x00 del \x7f`},
		{"c1 \u009b31m", `c1 \x9b31m`},
		{"bad \xff\xfe", `bad \xff\xfe`},
		{"half \xe6\xbc", `half \xe6\xbc`},
		{"\u202egpj.exe", `\u202egpj.exe`},
		{"\u2066x\u2069", `\u2066x\u2069`},
		{"zero\u200bwidth", `zero\u200bwidth`},
		{"two\nlines", "two\nlines"},
	} {
		if got := Escape(c.in); got != c.want {
			t.Errorf("Escape(%q): got %q, want %q", c.in, got, c.want)
		}
	}
	if got, want := Line("two\nlines"), `two\nlines`; got != want {
		t.Errorf("Line: got %q, want %q", got, want)
	}
}

func TestEscapedTextIsHarmless(t *testing.T) {
	harmless := func(b []byte) bool {
		s := Line(string(b))
		for _, r := range s {
			if harmful(r) {
				return false
			}
		}
		return utf8.ValidString(s) && Line(s) == s
	}
	if err := quick.Check(harmless, nil); err != nil {
		t.Error(err)
	}
}

func TestColor(t *testing.T) {
	for _, c := range []struct {
		flag string
		env  map[string]string
		want bool
	}{
		{"always", map[string]string{"NO_COLOR": "1"}, true},
		{"never", map[string]string{"CLICOLOR_FORCE": "1"}, false},
		{"auto", map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, false},
		{"auto", map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{"auto", map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{"auto", map[string]string{"TERM": "xterm"}, false}, // not a terminal
	} {
		getenv := func(k string) string { return c.env[k] }
		if got := Color(c.flag, getenv, nil); got != c.want {
			t.Errorf("--color %s with %v: got %v, want %v", c.flag, c.env, got, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{40 * time.Millisecond, "0.0s"},
		{9800 * time.Millisecond, "9.8s"},
		{99949 * time.Millisecond, "99.9s"},
		{99950 * time.Millisecond, "1m40s"},
		{59*time.Minute + 59*time.Second, "59m59s"},
		{62 * time.Minute, "1h02m"},
	} {
		if got := took(c.d); got != c.want {
			t.Errorf("took(%v): got %q, want %q", c.d, got, c.want)
		}
	}
	now := time.Date(2026, 11, 21, 14, 40, 0, 0, time.UTC)
	for _, c := range []struct {
		age  time.Duration
		want string
	}{
		{10 * time.Second, "14:39 (just now)"},
		{38 * time.Minute, "14:02 (38 min ago)"},
		{3 * time.Hour, "11:40 (3 h ago)"},
		{15 * time.Hour, "2026-11-20 23:40 (15 h ago)"},
		{72 * time.Hour, "2026-11-18 14:40 (3 days ago)"},
		{-24 * 365 * 100 * time.Hour, "2126-10-28 14:40 (in the future: the clocks differ)"},
		{24 * 365 * 100 * time.Hour, "1926-12-16 14:40 (the clocks differ)"},
		{-2 * time.Hour, "16:40 (in the future: the clocks differ)"},
	} {
		if got := since(now.Add(-c.age), now); got != c.want {
			t.Errorf("%v ago: got %q, want %q", c.age, got, c.want)
		}
	}
	for _, c := range []struct {
		d    time.Duration
		want string
	}{{30 * time.Second, "30s"}, {10 * time.Minute, "10m"}, {2 * time.Hour, "2h"}, {90 * time.Minute, "1h30m"}, {time.Hour + time.Second, "1h0m1s"}} {
		if got := Span(c.d); got != c.want {
			t.Errorf("Span(%v): got %q, want %q", c.d, got, c.want)
		}
	}
}
