package nodetest

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"

	"example.org/conc/jobs"
)

// memory is the check of main memory and swap.
type memory []want

var memoryProperties = grammar{values: map[string]func(string) error{
	"total": isBound(sizeNumber), "available": isAmount(sizeNumber), "used": isAmount(sizeNumber),
	"swap-total": isBound(sizeNumber), "swap-free": isAmount(sizeNumber), "swap-used": isAmount(sizeNumber),
}}

func memoryEntry() Entry {
	return Entry{
		Name:    "memory",
		Args:    "[available BOUND] [used BOUND] [total BOUND] [swap-free BOUND] [swap-used BOUND] [swap-total BOUND]",
		Summary: "main memory and swap: how much there is, and is left",
		Help: `available is what programs can still have without swapping, as free has it; used is
the rest of total. swap-free and swap-used are of swap-total. A BOUND is a size or,
but for the totals, percent: <2GiB, >=10%% (the percent sign stands twice, as
everywhere in deploy.ini). Without an operator what is used is "at most", the others
are "at least". A host without swap has 0 B of it, used and free.

SKIPPED where there is no /proc/meminfo, which is Linux's. ERROR when an old kernel
does not tell what is available.`,
		Example: "memory available >=10%% swap-used <50%%",
		Parse: func(args []string) (Check, error) {
			wants, err := memoryProperties.read(args)
			if err == nil && len(wants) == 0 {
				err = errors.New("it needs a property: available, used, total, swap-free, swap-used or swap-total")
			}
			return memory(wants), err
		},
	}
}

// Look reads what the kernel tells.
func (c memory) Look(context.Context, *jobs.Env) ([]Finding, error) {
	if err := linuxOnly("memory is read of /proc/meminfo"); err != nil {
		return nil, err
	}
	text, gone, err := readSystem("/proc/meminfo")
	if gone {
		return nil, Skipf("there is no /proc/meminfo here")
	} else if err != nil {
		return nil, unreadable(err)
	}
	return c.judge(parseMeminfo(text))
}

// parseMeminfo reads lines "NAME: N kB", in bytes.
func parseMeminfo(text []byte) map[string]float64 {
	m := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if len(f) != 2 || f[1] != "kB" {
			continue
		}
		if n, err := strconv.ParseUint(f[0], 10, 64); err == nil && n < math.MaxUint64>>10 {
			m[name] = float64(n) * 1024
		}
	}
	return m
}

func (c memory) judge(m map[string]float64) ([]Finding, error) {
	var findings []Finding
	for _, w := range c {
		kind, of := strings.TrimPrefix(w.property, "swap-"), []string{"MemTotal", "MemAvailable"}
		if kind != w.property {
			of = []string{"SwapTotal", "SwapFree"}
		}
		total, ok := m[of[0]]
		left, told := m[of[1]]
		if !ok || !told {
			return nil, jobs.Errorf("/proc/meminfo does not tell %s and %s", of[0], of[1])
		}
		var f Finding
		var err error
		switch kind {
		case "total":
			var b bound
			b, err = readBound(w.value, ">=", sizeNumber)
			f = found(b.holds(total), w.property, spelled(w.value, ">="), showSize(total))
		case "used":
			f, err = used(max(0, total-left), total, showSize).judge(w, "<=", sizeNumber)
		default:
			f, err = free(left, total, showSize).judge(w, ">=", sizeNumber)
		}
		if err != nil {
			return nil, err
		}
		findings = append(findings, f)
	}
	return findings, nil
}
