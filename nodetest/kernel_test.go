package nodetest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestSysctlPath(t *testing.T) {
	for key, want := range map[string]string{
		"vm.swappiness":                    "vm/swappiness",
		"net/ipv4/conf/eth0.100/rp_filter": "net/ipv4/conf/eth0.100/rp_filter",
		"net.ipv4.conf.eth0/100.rp_filter": "net/ipv4/conf/eth0.100/rp_filter",
		"kernel":                           "kernel",
		"fs/inotify/max_user_watches":      "fs/inotify/max_user_watches",
		"a.//b":                            "a/..b",
	} {
		if got := sysctlPath(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

func FuzzSysctlStaysBelowItsRoot(f *testing.F) {
	f.Add("a.//.b")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, key string) {
		if isSysctl(key) != nil {
			return
		}
		if got := filepath.Join("/proc/sys", sysctlPath(key)); !strings.HasPrefix(got, "/proc/sys/") {
			t.Errorf("%q is read at %s", key, got)
		}
	})
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		want, have string
		ok         bool
	}{
		{"1", "1", true},
		{"1", "10", false},
		{"4096 131072  6291456", "4096 131072 6291456", true},
		{"4096", "4096 131072 6291456", false},
		{">=4096", "4096 131072 6291456", false},
		{">=128", "128", true},
		{"> 128", "128", false},
		{"=128", "128", true},
		{"=128", "0128", true},
		{"<0", "-1", true},
		{"", "", true},
		{"cubic", "cubic", true},
		{">x", "1", false},
	} {
		if got := setTo(tt.want, tt.have); got != tt.ok {
			t.Errorf("%q for %q: got %v, want %v", tt.have, tt.want, got, tt.ok)
		}
	}
}

func TestSysctlsOfThisHost(t *testing.T) {
	env := here(t)
	if runtime.GOOS != "linux" {
		if r := look(t, env, "sysctl kernel.ostype"); r.Status != Skipped {
			t.Errorf("got %s, want SKIPPED", verdict(r))
		}
		return
	}
	pages, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil {
		t.Skip(err)
	}
	is := strings.TrimSpace(string(pages))
	verdicts(t, looked(env), [][2]string{
		{"sysctl kernel.ostype", "OK"},
		{"sysctl kernel/ostype exists value Linux contains inu lacks BSD matches ^L", "OK"},
		{"sysctl kernel.ostype value BSD", "FAILED value BSD: value Linux"},
		{"sysctl kernel.ostype absent", "FAILED the parameter kernel.ostype absent: there, with the value Linux"},
		{"sysctl vm.overcommit_memory value " + is + " value >=0", "OK"},
		{"sysctl vm.overcommit_memory value >99", "FAILED value >99: value " + is},
		{"sysctl kernel.no_such_thing", "FAILED the parameter kernel.no_such_thing: not there"},
		{"sysctl kernel.ostype.more absent", "OK"},
		{"sysctl kernel.no_such_thing absent", "OK"},
		{"sysctl vm", "ERROR vm is a group of parameters"},
	})
}

func TestModuleState(t *testing.T) {
	const list = "xt_recent 24576 1 - Live 0x0000000000000000\n" +
		"snd-usb 1 0 - Loading 0x0 (OE)\n" +
		"going 1 0 - Unloading 0x0\n" +
		"short 1\n" +
		"\n"
	for name, want := range map[string]string{"xt_recent": "live", "snd_usb": "loading", "going": "unloading", "short": "live", "xt": "", "": ""} {
		if got, there := moduleState([]byte(list), name); got != want || there != (want != "") {
			t.Errorf("%q: got %q %v, want %q", name, got, there, want)
		}
	}
	const builtins = "kernel/net/ipv4/tcp_cubic.ko\nkernel/drivers/x-y.ko\nkernel/odd\n"
	for name, want := range map[string]bool{"tcp_cubic": true, "x_y": true, "odd": false, "tcp": false, "": false} {
		if got := isListed([]byte(builtins), name); got != want {
			t.Errorf("%q built in: got %v, want %v", name, got, want)
		}
	}
}

func TestParamIs(t *testing.T) {
	for _, tt := range []struct {
		op, want, have string
		ok             bool
	}{
		{"=", "35", "35", true},
		{"=", "35", "20", false},
		{"=", "35", "", false},
		{">=", "35", "40", true},
		{"<", "35", "40", false},
		{"=", "Y", "Y", true},
		{"=", "1", "Y", true},
		{"=", "y", "1", true},
		{"=", "n", "N", true},
		{"=", "0", "N", true},
		{"=", "0", "Y", false},
		{"=", "a,b", "a,b", true},
		{"=", "", "", true},
	} {
		if got := paramIs(tt.op, tt.want, tt.have); got != tt.ok {
			t.Errorf("%s%s for %q: got %v, want %v", tt.op, tt.want, tt.have, got, tt.ok)
		}
	}
}

// TestModulesOfThisHost looks at modules that this kernel has, if any.
func TestModulesOfThisHost(t *testing.T) {
	env := here(t)
	dirs, _ := filepath.Glob("/sys/module/*/parameters/*")
	if runtime.GOOS != "linux" || len(dirs) == 0 {
		if r := look(t, env, "module xt_recent"); runtime.GOOS != "linux" && r.Status != Skipped {
			t.Errorf("got %s, want SKIPPED", verdict(r))
		}
		return
	}
	verdicts(t, looked(env), [][2]string{
		{"module conc_no_such_module", "FAILED module conc_no_such_module: not there"},
		{"module conc-no-such-module absent", "OK"},
	})
	for _, path := range dirs {
		text, err := os.ReadFile(path)
		name := filepath.Base(filepath.Dir(filepath.Dir(path)))
		param, value := filepath.Base(path), strings.TrimSpace(string(text))
		if err != nil || strings.ContainsAny(value, "%'\"\\;#\n ") || value == "" {
			continue
		}
		verdicts(t, looked(env), [][2]string{
			{"module " + strings.ReplaceAll(name, "_", "-") + " loaded param '" + param + "=" + value + "'", "OK"},
			{"module " + name + " param '" + param + "=x" + value + "'", "FAILED param " + param + "=x" + value + ": param " + param + "=" + value},
			{"module " + name + " param no_such=1", "FAILED param no_such=1: the module shows no such parameter"},
			{"module " + name + " absent", "FAILED module " + name + " absent: ..."},
		})
		return
	}
}
