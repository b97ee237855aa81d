package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// writeText prints the tables for a terminal.
func writeText(w io.Writer, b *bench) error {
	fmt.Fprintln(w, b.about())
	for _, one := range b.done {
		fmt.Fprintf(w, "\n%s. %s\n", one.id, one.title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, strings.Join(b.head(), "\t"))
		rows := b.rows(one)
		for _, r := range rows {
			fmt.Fprintln(t, strings.Join(b.line(r), "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, note := range b.notes(rows) {
			fmt.Fprintln(w, note)
		}
	}
	return nil
}

// about says what this was, without a name or a path of the machine.
func (b *bench) about() string {
	tiny := ""
	if b.tiny {
		tiny = "Tiny data: these figures say that the bench works, and nothing else. "
	}
	text := fmt.Sprintf("%s%s, %d cores, %s, %s. Medians of %d.", tiny, time.Now().UTC().Format("2 January 2006"),
		runtime.NumCPU(), runtime.GOARCH, system(), b.rounds)
	for _, p := range b.peers {
		text += fmt.Sprintf(" %s %s,", p.name, p.told)
	}
	text = strings.TrimSuffix(text, ",") + "."
	if len(b.missing) > 0 {
		text += " Not installed: " + strings.Join(b.missing, ", ") + "."
	}
	return text
}

// system names the operating system.
func system() string {
	text, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return runtime.GOOS
}

func (b *bench) head() []string {
	all := []string{"state", "tool"}
	for _, delay := range b.delays {
		all = append(all, fmt.Sprintf("%d ms", delay.Milliseconds()))
	}
	return append(all, "round trips", "CPU here", "CPU node", "memory here", "memory node", "sent", "received")
}

func (b *bench) line(r row) []string {
	all := []string{string(r.variant), r.peer}
	for _, c := range r.at {
		all = append(all, c.String())
	}
	if !r.some {
		return append(all, "", "", "", "", "", "", "")
	}
	trips := ""
	if r.trips >= 0 {
		trips = fmt.Sprintf("%.1f", r.trips)
	}
	return append(
		all, trips, seconds(r.last.CPU), seconds(r.last.nodeCPU),
		mega(r.last.Memory), mega(r.last.nodeMemory), bytesOf(r.last.up), bytesOf(r.last.down),
	)
}

// String is such as "1.24 s ×3.4", with a star when it did not always succeed.
func (c cell) String() string {
	switch {
	case c.of == 0:
		return ""
	case c.wall == 0:
		return "failed *"
	}
	text := seconds(c.wall)
	if c.ratio > 0 {
		text += fmt.Sprintf(" ×%.1f", c.ratio)
	}
	if c.bad > 0 {
		text += " *"
	}
	return text
}

// notes tell what the stars are for.
func (b *bench) notes(rows []row) []string {
	var all []string
	for _, r := range rows {
		for i, c := range r.at {
			if c.bad > 0 {
				why := strings.ReplaceAll(c.failed, b.dir, "")
				all = append(all, fmt.Sprintf("* %s, %s, %d ms: %d of %d failed: %.300s", r.peer, r.variant, b.delays[i].Milliseconds(), c.bad, c.of, why))
			}
		}
	}
	return all
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mega(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}

func bytesOf(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// restructured gives the tables as the manual includes them.
func restructured(ctx context.Context, b *bench) string {
	var out strings.Builder
	out.WriteString(".. Written by \"go run ./bench -o\". What is changed here is lost.\n\n")
	fmt.Fprintf(&out, "%s\n", b.about())
	if commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		fmt.Fprintf(&out, "conc is that of commit %s.\n", strings.TrimSpace(string(commit)))
	}
	for _, one := range b.done {
		title := fmt.Sprintf("%s. %s", one.id, one.title)
		fmt.Fprintf(&out, "\n%s\n%s\n\n.. csv-table::\n   :header-rows: 1\n   :widths: auto\n\n", title, strings.Repeat("~", len([]rune(title))))
		rows := b.rows(one)
		writeCSV(&out, b.head())
		for _, r := range rows {
			writeCSV(&out, b.line(r))
		}
		for i, note := range b.notes(rows) {
			if i == 0 {
				out.WriteString("\n")
			}
			// What a tool said is not to be read as markup.
			fmt.Fprintf(&out, "| ``%s``\n", strings.ReplaceAll(note, "`", "'"))
		}
	}
	return out.String()
}

func writeCSV(out io.Writer, fields []string) {
	for i, f := range fields {
		fields[i] = `"` + strings.ReplaceAll(strings.ReplaceAll(f, " *", ` \*`), `"`, `""`) + `"`
	}
	fmt.Fprintf(out, "   %s\n", strings.Join(fields, ", "))
}
