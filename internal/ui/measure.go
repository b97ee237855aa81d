package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// measure knows how wide text is on a terminal: it does not ask the locale, so
// that the same text always has the same columns.
var measure = &runewidth.Condition{StrictEmojiNeutral: true}

// cells is the number of columns that s takes.
func cells(s string) int { return measure.StringWidth(s) }

// fit cuts s to at most width columns, with … for what was cut.
func fit(s string, width int) string {
	if cells(s) <= width {
		return s
	}
	return measure.Truncate(s, max(width, 1), "…")
}

// pad cuts or fills s to exactly width columns.
func pad(s string, width int) string {
	s = fit(s, width)
	return s + strings.Repeat(" ", width-cells(s))
}

// wrap breaks text into lines of at most width columns, between words. A word
// that is wider stays whole: it is a path, or something else to be copied.
func wrap(text string, width int) []string {
	var lines []string
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.FieldsSeq(part) {
			switch {
			case line == "":
				line = word
			case cells(line)+1+cells(word) <= width:
				line += " " + word
			default:
				lines = append(lines, line)
				line = word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// Wrap breaks paragraphs, which empty lines part, into lines of at most width
// columns. A paragraph with an indented line stays as it is.
func Wrap(text string, width int) []string {
	var lines []string
	for i, par := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			lines = append(lines, "")
		}
		if strings.Contains("\n"+par, "\n ") || strings.Contains("\n"+par, "\n\t") {
			lines = append(lines, strings.Split(par, "\n")...)
			continue
		}
		lines = append(lines, wrap(strings.ReplaceAll(par, "\n", " "), width)...)
	}
	return lines
}

// took writes a time span in at most five columns: 0.1s, 41.6s, 2m05s, 1h02m.
func took(d time.Duration) string {
	switch {
	case d < 99950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// ago writes how long before now t was, as people say it.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case now.Before(t.Add(-time.Minute)):
		return "in the future: the clocks differ"
	case t.Year() < 2000: // further back, and a Duration cannot hold it
		return "the clocks differ"
	case d < time.Minute:
		return "just now"
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", (d+time.Hour/2)/time.Hour)
	}
	return fmt.Sprintf("%d days ago", (d+12*time.Hour)/(24*time.Hour))
}

// since writes a moment with its age: "14:02 (38 min ago)".
func since(t, now time.Time) string {
	t = t.In(now.Location())
	form := "2006-01-02 15:04"
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		form = "15:04"
	}
	return t.Format(form) + " (" + ago(t, now) + ")"
}

// Table lays rows out in columns, two spaces apart, for text of any width.
// Nothing follows a row's last cell. The cells are escaped.
func Table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], cells(Line(c)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(pad(Line(c), widths[i]))
			line.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Count writes a number of things: "1 step", "13 steps".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Span writes a time limit as deploy.ini does: 30s, 10m, 1h30m.
func Span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
