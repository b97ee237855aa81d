package nodetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/conc/jobs"
)

func TestCompareRPM(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0},
		{"1.0", "2.0", -1},
		{"1.10", "1.9", 1},
		{"1.0", "1.0.1", -1},
		{"1.0", "1_0", 0},
		{"1.05", "1.5", 0},
		{"1.0a", "1.0", 1},
		{"1.0a", "1.0.1", -1},
		{"1.0a", "1.0b", -1},
		{"a", "1", -1},
		{"5.5p1", "5.5p10", -1},
		{"5.5p1", "5.5p1", 0},
		{"10xyz", "10.1xyz", -1},
		{"xyz10", "xyz10.1", -1},
		{"xyz.4", "8", -1},
		{"20101121", "20101122", -1},
		{"1.0~rc1", "1.0", -1},
		{"1.0~rc1", "1.0~rc2", -1},
		{"1.0~rc1", "1.0~rc1~git1", 1},
		{"1.0^", "1.0", 1},
		{"1.0^git1", "1.0", 1},
		{"1.0^git1", "1.0^git2", -1},
		{"1.0^git1", "1.01", -1},
		{"1.0^20160101", "1.0.1", -1},
		{"1.0~rc1^git1", "1.0~rc1", 1},
		{"1.0^git1~pre", "1.0^git1", -1},
		{"1.0", "1.0^", -1},
		{"1:1.0", "2.0", 1},
		{"1:1.0", "2:0.1", -1},
		{"1.0-1", "1.0-2.el9", -1},
		{"1.0-10.el9", "1.0-9.el9", 1},
		{"", "", 0},
		{"1", "", 1},
		{"123456789012345678901234567890", "123456789012345678901234567891", -1},
	} {
		if got := compareRPM(tt.a, tt.b); got != tt.want {
			t.Errorf("%s %s: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := compareRPM(tt.b, tt.a); got != -tt.want {
			t.Errorf("%s %s: got %d, want %d", tt.b, tt.a, got, -tt.want)
		}
	}
}

func FuzzCompareRPM(f *testing.F) {
	f.Add("1.0~rc1^2", "1.0")
	f.Fuzz(func(t *testing.T, a, b string) {
		if x, y := compareRPM(a, b), compareRPM(b, a); x != -y {
			t.Errorf("%q %q: %d, the other way round %d", a, b, x, y)
		}
		if compareRPM(a, a) != 0 {
			t.Errorf("%q is not equal to itself", a)
		}
	})
}

func TestOnlyWhatABoundNamesIsCompared(t *testing.T) {
	for _, tt := range []struct{ version, limit, want string }{
		{"1.22.1-9", "1.22", "1.22.1"},
		{"1.22.1-9", "1.22-1", "1.22.1-9"},
		{"1:9.2p1-2+deb12u3", "9.2p1", "9.2p1"},
		{"1:9.2p1-2", "1:9.2p1", "1:9.2p1"},
		{"1:9.2p1-2", "9.2p1-2", "9.2p1-2"},
		{"1.0-rc-2", "1.0", "1.0-rc"},
		{"5", "1-2", "5"},
	} {
		if got := sameParts(tt.version, tt.limit); got != tt.want {
			t.Errorf("%s for %s: got %s, want %s", tt.version, tt.limit, got, tt.want)
		}
	}
}

func TestSystemLike(t *testing.T) {
	for text, want := range map[string]string{
		"NAME=\"X\"\nID=debian\n":                              "debian",
		"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nX_ID=y": "rocky rhel centos fedora",
		"ID_LIKE='suse'\n#ID=x\n":                              "suse",
		"":                                                     "",
	} {
		if got := strings.Join(systemLike(text), " "); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestPackagesOfDpkg(t *testing.T) {
	dir := onlyStubs(t)
	stub(t, dir, "dpkg-query", `
[ "$1" = --show ] || exit 9
case $3 in
nginx) printf 'install ok installed\t1.22.1-9+deb12u1\n';;
held) printf 'hold ok installed\t1:2.0\n';;
libc6) printf 'install ok installed\t2.36-9\ninstall ok installed\t2.31-1\n';;
half) printf 'install ok unpacked\t3.0-1\n';;
old) printf 'deinstall ok config-files\t3.0-1\n';;
gone) printf 'unknown ok not-installed\t\n';;
locked) echo 'dpkg-query: error: failed to open package info file' >&2; exit 2;;
weird) echo 'dpkg-query: error: oh' >&2; exit 1;;
*) echo "dpkg-query: no packages found matching $3" >&2; exit 1;;
esac
`)
	// It knows but these.
	stub(t, dir, "dpkg", `
case "$2 $3 $4" in
"1.22.1 lt 1.22"|"1.22.1 eq 1.22"|"1.22.1 eq 2"|"2.36 lt 2.35"|"2.36 eq 2.35"|"2.36 eq 2.37"|"2.31 eq 2.35") exit 1;;
"1.22.1 lt 2"|"1.22.1 eq 1.22.1"|"1.22.1-9+deb12u1 eq 1.22.1-9+deb12u1"|"2.0 eq 2.0"|"1:2.0 eq 1:2.0"|"2.31 lt 2.35"|"2.36 lt 2.37"|"2.31 lt 2.37") exit 0;;
*" lt "*) exit 1;;
esac
echo 'dpkg: error: oh' >&2; exit 2
`)
	verdicts(t, looked(here(t)), [][2]string{
		{"package nginx", "OK"},
		{"package nginx installed version >=1.22 version <2", "OK"},
		{"package nginx version 1.22.1", "OK"},
		{"package nginx version =1.22.1-9+deb12u1", "OK"},
		{"package nginx version >2", "FAILED version >2: version 1.22.1-9+deb12u1"},
		{"package nginx version 3", "ERROR version 1.22.1-9+deb12u1: dpkg --compare-versions: exit 2: dpkg: error: oh"},
		{"package nginx absent", "FAILED package nginx absent: installed, version 1.22.1-9+deb12u1"},
		{"package held version 2.0", "OK"},
		{"package held version 1:2.0", "OK"},
		{"package libc6 version <2.35", "OK"},
		{"package libc6 version >2.35 version <2.37", "OK"},
		{"package libc6 version >2.37", "FAILED version >2.37: version 2.36-9, 2.31-1"},
		{"package half", "FAILED package half: not installed: unpacked"},
		{"package half absent", "OK"},
		{"package old absent", "OK"},
		{"package old", "FAILED package old: not installed: config-files"},
		{"package gone", "FAILED package gone: not there"},
		{"package ghost absent", "OK"},
		{"package locked", "ERROR dpkg-query: exit 2: dpkg-query: error: failed to open package info file"},
		{"package weird absent", "ERROR dpkg-query: exit 1: dpkg-query: error: oh"},
		{"package nginx with rpm", "SKIPPED there is no rpm on this host"},
	})
}

func TestPackagesOfRPM(t *testing.T) {
	stub(t, onlyStubs(t), "rpm", `
[ "$1" = --query ] || exit 9
case $4 in
openssh) echo 1:8.7p1-38.el9;;
kernel) printf '5.14.0-70.el9\n5.14.0-427.el9\n';;
sick) echo 'error: cannot open Packages database' >&2; echo "package sick is not installed"; exit 1;;
broken) echo 'error: cannot open Packages database' >&2; exit 1;;
*) echo "package $4 is not installed"; exit 1;;
esac
`)
	verdicts(t, looked(here(t)), [][2]string{
		{"package openssh version >=8.7 version <9 with rpm", "OK"},
		{"package openssh version =8.7p1-38.el9", "OK"},
		{"package openssh version >1:9", "FAILED version >1:9: version 1:8.7p1-38.el9"},
		{"package kernel version >=5.14.0-400", "OK"},
		{"package kernel version >=5.15", "FAILED version >=5.15: version 5.14.0-70.el9, 5.14.0-427.el9"},
		{"package ghost", "FAILED package ghost: not there"},
		{"package ghost absent", "OK"},
		{"package broken absent", "ERROR rpm: exit 1: error: cannot open Packages database"},
		{"package sick absent", "ERROR rpm: exit 1: error: cannot open Packages database"},
	})
}

func TestPackagesOfApk(t *testing.T) {
	stub(t, onlyStubs(t), "apk", `
case "$*" in
'info --installed --verbose musl') echo musl-1.2.5-r0;;
'info --installed --verbose cmd:sh') echo busybox-binsh-1.36.1-r29;;
'info --installed --verbose broken') echo 'ERROR: Unable to read database' >&2; exit 99;;
'info --installed --verbose '*) exit 1;;
'version --test 1.2.5 1.2') echo '>';;
'version --test 1.2.5 1.2.5') echo '=';;
'version --test 1.2.5-r0 1.2.5-r1') echo '<';;
*) echo 'what?' >&2; exit 1;;
esac
`)
	verdicts(t, looked(here(t)), [][2]string{
		{"package musl version >=1.2 version =1.2.5", "OK"},
		{"package musl version >=1.2.5-r1", "FAILED version >=1.2.5-r1: version 1.2.5-r0"},
		{"package musl version >3", "ERROR version 1.2.5-r0: apk version --test: exit 1: what?"},
		{"package cmd:sh", "FAILED package cmd:sh: not installed: provided by busybox-binsh-1.36.1-r29"},
		{"package ghost", "FAILED package ghost: not there"},
		{"package ghost absent", "OK"},
		{"package broken absent", "ERROR apk: exit 99: ERROR: Unable to read database"},
	})
}

func TestAPackageManagerThatHangsIsEnded(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("there is no sleep here")
	}
	stub(t, onlyStubs(t), "dpkg-query", "exec "+sleep+" 60\n")
	begun := time.Now()
	env := here(t)
	env.Dir = filepath.Join(env.Home, "gone") // where it is started does not matter
	r := look(t, env, "timeout=100ms package nginx with dpkg")
	if r.Status != jobs.TimedOut || time.Since(begun) > 30*time.Second {
		t.Errorf("got %s after %v, want TIMED OUT at once", verdict(r), time.Since(begun))
	}
}

func TestPackagesWithoutAManager(t *testing.T) {
	if _, err := os.Stat("/sbin/apk"); err == nil {
		t.Skip("apk is not found by way of PATH alone")
	}
	onlyStubs(t)
	verdicts(t, looked(here(t)), [][2]string{
		{"package nginx", "SKIPPED there is no dpkg, rpm or apk on this host"},
		{"package nginx absent with apk", "SKIPPED there is no apk on this host"},
	})
}

func TestPackagesOfThisHost(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("this host has no dpkg")
	}
	verdicts(t, looked(here(t)), [][2]string{
		{"package dpkg with dpkg version >=1.16 version <100", "OK"},
		{"package dpkg with dpkg version >100", "FAILED version >100: version ..."},
		{"package conc-no-such-package with dpkg absent", "OK"},
		{"package conc-no-such-package with dpkg", "FAILED package conc-no-such-package: not there"},
	})
}
