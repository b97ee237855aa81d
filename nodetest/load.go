package nodetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.org/conc/jobs"
)

// load is the check of the load average.
type load []want

var (
	loadSpans      = []string{"1m", "5m", "15m"} // in the order of /proc/loadavg
	loadProperties = grammar{values: map[string]func(string) error{
		"1m": isBound(plainNumber), "5m": isBound(plainNumber), "15m": isBound(plainNumber),
		"1m-per-cpu": isBound(plainNumber), "5m-per-cpu": isBound(plainNumber), "15m-per-cpu": isBound(plainNumber),
	}}
)

const perCPU = "-per-cpu"

func loadEntry() Entry {
	return Entry{
		Name:    "load",
		Args:    "[1m|5m|15m BOUND]... [1m-per-cpu|5m-per-cpu|15m-per-cpu BOUND]...",
		Summary: "the load average, as such or for each CPU",
		Help: `1m, 5m and 15m are the load averages of so many minutes, as uptime shows them; with
-per-cpu they are divided by the number of CPUs that are online. A BOUND is a number
with an operator: <8; without an operator it is "at most".

SKIPPED where there is no /proc/loadavg, which is Linux's.`,
		Example: "load 5m-per-cpu <2 15m-per-cpu <1",
		Parse: func(args []string) (Check, error) {
			wants, err := loadProperties.read(args)
			if err == nil && len(wants) == 0 {
				err = errors.New("it needs a property: 1m, 5m, 15m, or one of them with -per-cpu")
			}
			return load(wants), err
		},
	}
}

// Look reads the load.
func (c load) Look(context.Context, *jobs.Env) ([]Finding, error) {
	if err := linuxOnly("the load is read of /proc/loadavg"); err != nil {
		return nil, err
	}
	text, gone, err := readSystem("/proc/loadavg")
	if gone {
		return nil, Skipf("there is no /proc/loadavg here")
	} else if err != nil {
		return nil, unreadable(err)
	}
	averages, err := parseLoad(text)
	if err != nil {
		return nil, err
	}
	cpus := 0
	if slices.ContainsFunc(c, func(w want) bool { return strings.HasSuffix(w.property, perCPU) }) {
		stat, _, err := readSystem("/proc/stat")
		if err != nil {
			return nil, unreadable(err)
		}
		if cpus = countCPUs(stat); cpus == 0 {
			return nil, jobs.Errorf("/proc/stat names no CPU")
		}
	}
	return c.judge(averages, cpus)
}

// parseLoad reads the three averages.
func parseLoad(text []byte) ([]float64, error) {
	fields := strings.Fields(string(text))
	if len(fields) < len(loadSpans) {
		return nil, jobs.Errorf("/proc/loadavg is not in its form")
	}
	var averages []float64
	for _, f := range fields[:len(loadSpans)] {
		v, err := plainNumber(f)
		if err != nil {
			return nil, jobs.Errorf("/proc/loadavg is not in its form: %w", err)
		}
		averages = append(averages, v)
	}
	return averages, nil
}

// countCPUs counts the lines cpu0, cpu1 and so on of /proc/stat: those online.
func countCPUs(text []byte) int {
	n := 0
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " ")
		if digits, ok := strings.CutPrefix(name, "cpu"); ok {
			if _, err := strconv.ParseUint(digits, 10, 32); err == nil {
				n++
			}
		}
	}
	return n
}

func (c load) judge(averages []float64, cpus int) ([]Finding, error) {
	var findings []Finding
	for _, w := range c {
		span, each := strings.CutSuffix(w.property, perCPU)
		v := averages[slices.Index(loadSpans, span)]
		got := fmt.Sprintf("%.2f", v)
		if each {
			got = fmt.Sprintf("%.2f (%s on %d CPUs)", v/float64(cpus), got, cpus)
			v /= float64(cpus)
		}
		b, err := readBound(w.value, "<=", plainNumber)
		if err != nil {
			return nil, err
		}
		findings = append(findings, found(b.holds(v), "load "+w.property, spelled(w.value, "<="), got))
	}
	return findings, nil
}
