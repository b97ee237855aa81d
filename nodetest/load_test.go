package nodetest

import (
	"math"
	"os"
	"runtime"
	"testing"
)

func TestLoads(t *testing.T) {
	averages, err := parseLoad([]byte("4.00 2.50 0.10 1/299 2940\n"))
	if err != nil {
		t.Fatal(err)
	}
	verdicts(t, func(t *testing.T, line string) Result {
		findings, err := check(t, line).(load).judge(averages, 4)
		return Result{}.fill(here(t), findings, err)
	}, [][2]string{
		{"load 1m 4 5m <3 15m <=0.1", "OK"},
		{"load 1m <4", "FAILED load 1m <4: load 1m 4.00"},
		{"load 5m 2", "FAILED load 5m <=2: load 5m 2.50"},
		{"load 1m-per-cpu <=1 15m-per-cpu <0.1", "OK"},
		{"load 1m-per-cpu <1", "FAILED load 1m-per-cpu <1: load 1m-per-cpu 1.00 (4.00 on 4 CPUs)"},
	})
	for _, text := range []string{"", "1 2", "a b c d", "1 NaN 2", "1 Inf 2"} {
		if got, err := parseLoad([]byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	for text, want := range map[string]int{
		"cpu  1 2 3\ncpu0 1 2\ncpu1 1 2\nintr 1\n": 2,
		"cpu  1\ncpu12 1":                          1,
		"cpux 1\ncpu-1 2\n":                        0,
		"":                                         0,
	} {
		if got := countCPUs([]byte(text)); got != want {
			t.Errorf("%q: got %d CPUs, want %d", text, got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	m := parseMeminfo([]byte("MemTotal:       1000000 kB\nMemFree: 1 kB\nMemAvailable:   333333 kB\nHugePages_Total:  7\nSwapTotal: 1024 kB\nSwapFree: 512 kB\n" +
		"Bad: -1 kB\nHuge: 18446744073709551615 kB\nNone\n: \n"))
	if len(m) != 5 {
		t.Errorf("got %v, want five", m)
	}
	judge := func(m map[string]float64) func(t *testing.T, line string) Result {
		return func(t *testing.T, line string) Result {
			findings, err := check(t, line).(memory).judge(m)
			return Result{}.fill(here(t), findings, err)
		}
	}
	verdicts(t, judge(m), [][2]string{
		{"memory total >=900M available >300M used <=67%% swap-total 1M swap-used 50%% swap-free 512K", "OK"},
		{"memory available 34%%", "FAILED available >=34%: available 325.5 MiB of 976.6 MiB (33%)"},
		{"memory used <67%%", "FAILED used <67%: used 651.0 MiB of 976.6 MiB (67%)"},
		{"memory swap-used <50%%", "FAILED swap-used <50%: swap-used 512.0 KiB of 1.0 MiB (50%)"},
		{"memory total 1G", "FAILED total >=1G: total 976.6 MiB"},
	})
	m["SwapTotal"], m["SwapFree"] = 0, 0
	verdicts(t, judge(m), [][2]string{
		{"memory swap-used <50%% swap-total =0", "OK"},
		{"memory swap-free >=1%%", "FAILED swap-free >=1%: swap-free 0 B of 0 B (0%)"},
	})
	delete(m, "MemAvailable")
	verdicts(t, judge(m), [][2]string{{"memory available >0", "ERROR /proc/meminfo does not tell MemTotal and MemAvailable"}})
	if math.IsNaN(ratio(0, 0)) {
		t.Error("a part of nothing is no number")
	}
}

func TestLoadAndMemoryOfThisHost(t *testing.T) {
	if runtime.GOOS != "linux" {
		for _, line := range []string{"load 1m <1", "memory used <1"} {
			if r := look(t, here(t), line); r.Status != Skipped {
				t.Errorf("%s: got %s, want SKIPPED", line, verdict(r))
			}
		}
		return
	}
	verdicts(t, looked(here(t)), [][2]string{
		{"load 1m >=0 5m <1000000 15m-per-cpu >=0", "OK"},
		{"load 1m <0", "FAILED load 1m <0: load 1m ..."},
		{"memory available >0 total >1M used >0 swap-used >=0", "OK"},
	})
}

func TestEnvironment(t *testing.T) {
	t.Setenv("CONC_TEST_A", "one two")
	t.Setenv("CONC_TEST_EMPTY", "")
	if err := os.Unsetenv("CONC_TEST_NONE"); err != nil {
		t.Fatal(err)
	}
	verdicts(t, looked(here(t)), [][2]string{
		{"env CONC_TEST_A", "OK"},
		{"env CONC_TEST_A set value 'one two' contains two lacks three matches ^one", "OK"},
		{"env CONC_TEST_A value one", `FAILED value "one": value "one two"`},
		{"env CONC_TEST_A unset", `FAILED CONC_TEST_A unset: set to "one two"`},
		{"env CONC_TEST_EMPTY set value ''", "OK"},
		{"env CONC_TEST_NONE", "FAILED CONC_TEST_NONE set: not set"},
		{"env CONC_TEST_NONE value x", "FAILED CONC_TEST_NONE set: not set"},
		{"env CONC_TEST_NONE unset", "OK"},
	})
}
