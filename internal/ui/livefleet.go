package ui

import (
	"fmt"
	"strings"
	"time"
)

// fleetTick is the least time between two drawings of the lines of many nodes.
const fleetTick = 100 * time.Millisecond

// eraseBelow clears the line, and all that is below it.
const eraseBelow = "\r\x1b[J"

// drawFleet puts up a line for each of the nodes that are at work, as many as the
// terminal has room for, and one that counts them all.
func (l *live) drawFleet(width, height int) {
	lines := l.fleet(width, height)
	block := strings.Join(lines, "\n")
	switch block {
	case l.shown:
	case "":
		l.hide()
	default:
		var b strings.Builder
		b.WriteString(l.up())
		for i, line := range lines {
			if i > 0 {
				b.WriteString("\r\n")
			}
			b.WriteString(erase + line)
		}
		b.WriteString("\x1b[J") // of a block that was longer
		l.out.put(l.w, []byte(b.String()))
		l.shown = block
	}
}

// erased takes what is shown off the terminal.
func (l *live) erased() string {
	if up := l.up(); up != "" {
		return up + eraseBelow
	}
	return erase
}

// up goes to the first of the lines that are shown.
func (l *live) up() string {
	if n := strings.Count(l.shown, "\n"); n > 0 {
		return fmt.Sprintf("\x1b[%dA", n)
	}
	return ""
}

// fleet makes the lines: none when no node is at work.
func (l *live) fleet(width, height int) []string {
	if len(l.running) == 0 {
		return nil
	}
	room := min(len(l.running), max(1, height-2)) // one above them stays for what ends
	lines := make([]string, 0, room+1)
	for _, r := range l.running[:room] {
		lines = append(lines, fit(l.one(r, width), width))
	}
	ended := 0
	for _, n := range l.ended {
		ended += n
	}
	parts := append(countsOf(l.ended), fmt.Sprintf("%d at work", len(l.running)))
	if left := len(l.text.nodes) - ended - len(l.running); left > 0 {
		parts = append(parts, fmt.Sprintf("%d to come", left))
	}
	return append(lines, fit(strings.Join(parts, ", ")+"  "+took(max(0, l.now().Sub(l.begun))), width))
}
