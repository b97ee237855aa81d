package nodetest

import (
	"context"
	"os"
	"os/user"
	"runtime"
	"strings"
	"testing"
)

func TestFindAccount(t *testing.T) {
	const file = "root:x:0:0:root:/root:/bin/bash\n" +
		"# a comment: x:1:2:3:4:5\n" +
		"1000:x:7:7::/home/1000:\n" +
		"+@nis\n+::::::\n" +
		"bad:x:y:0::/:\n" +
		"short:x:5:5\n" +
		"shop:x:1000:1000:Shop, of:/srv/shop:/bin/sh"
	for key, want := range map[string]string{
		"root": "root /root", "0": "root /root", "shop": "shop /srv/shop",
		"1000": "1000 /home/1000", // a name is before a number
		"7":    "1000 /home/1000",
		"bad":  "", "short": "", "+": "", "": "", "y": "", "Root": "",
	} {
		got := ""
		if f, there := findAccount(file, passwd, key); there {
			got = f[0] + " " + f[5]
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func FuzzSplitAccount(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/bash")
	f.Fuzz(func(t *testing.T, line string) {
		for database, n := range accountFields {
			if fields, ok := splitAccount(line, database); ok && (len(fields) != n || strings.Join(fields, ":") != line) {
				t.Errorf("%q: got %q", line, fields)
			}
		}
	})
}

// A getent and an id that know some accounts.
const (
	getent = `
case $1:$2 in
passwd:shop|passwd:1200) echo 'shop:x:1200:1200:Shop:/srv/shop:/usr/sbin/nologin';;
passwd:bare) echo 'bare:x:0:0:::';;
passwd:anna@corp) echo 'anna:*:90000:90000:Anna:/home/anna:/bin/sh';;
passwd:mess) echo mess;;
passwd:down) echo 'no server' >&2; exit 3;;
group:shop|group:1200) echo 'shop:x:1200:';;
group:ssl-cert|group:110) echo 'ssl-cert:x:110:postgres,anna';;
group:empty) echo 'empty:x:111:';;
group:'domain users') echo 'domain users:*:90000:';;
*) exit 2;;
esac
`
	idProgram = `
case "$2" in
shop) echo 1200 110 90000;;
*) echo "id: '$2': no such user" >&2; exit 1;;
esac
`
)

func TestAccounts(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("it is SKIPPED there")
	}
	dir := onlyStubs(t)
	stub(t, dir, "getent", getent)
	stub(t, dir, "id", idProgram)
	verdicts(t, looked(here(t)), [][2]string{
		{"user shop", "OK"},
		{"user shop exists uid 1200 gid 1200 group shop group 1200 home /srv/shop shell /usr/sbin/nologin", "OK"},
		{"user shop groups shop,ssl-cert", "OK"},
		{"user shop groups '110, domain users'", "OK"},
		{"user shop uid 0", "FAILED uid 0: uid 1200"},
		{"user shop shell /bin/sh home /", "FAILED shell /bin/sh: shell /usr/sbin/nologin home /: home /srv/shop"},
		{"user shop groups shop,empty", "FAILED groups shop,empty: groups ..."},
		{"user shop groups nobody-has-it", "FAILED groups nobody-has-it: groups ..."},
		{"user shop group ssl-cert", "FAILED group ssl-cert: group ..."},
		{"user shop absent", "FAILED user shop absent: there, with number 1200"},
		{"user bare uid 0 shell /bin/sh", "FAILED shell /bin/sh: shell none"},
		{"user bare groups shop", "ERROR id -G: exit 1: id: 'bare': no such user"},
		{"user 1200", "FAILED user 1200: not there"}, // that is a number, not a name
		{"user 1200 absent", "OK"},
		{"user anna@corp uid 90000", "OK"},
		{"user ghost", "FAILED user ghost: not there"},
		{"user ghost absent", "OK"},
		{"user down absent", "ERROR getent passwd: exit 3: no server"},
		{"user mess", "ERROR getent passwd: it gave no line of 7 fields"},
		{"group ssl-cert gid 110 members postgres,anna", "OK"},
		{"group ssl-cert members shop", "FAILED members shop: members postgres,anna"},
		{"group shop members shop", "OK"}, // whose own group it is
		{"group empty members shop", "FAILED members shop: members none"},
		{"group empty gid 112", "FAILED gid 112: gid 111"},
		{"group ghost", "FAILED group ghost: not there"},
		{"group ghost absent", "OK"},
	})
}

func TestAccountsWithoutGetent(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("it is SKIPPED there")
	}
	onlyStubs(t)
	verdicts(t, looked(here(t)), [][2]string{
		{"user root uid 0", "OK"},
		{"user root groups root", "ERROR there is no program id here"},
		{"user conc-no-such-user absent", "OK"},
		{"group conc-no-such-group", "FAILED group conc-no-such-group: not there"},
	})
}

func TestAccountsOfThisHost(t *testing.T) {
	me, err := user.Current()
	if err != nil || runtime.GOOS == "darwin" {
		t.Skip("there is no account to look at")
	}
	verdicts(t, looked(here(t)), [][2]string{
		{"user root uid 0 gid 0 groups 0", "OK"},
		{"user " + me.Username + " uid " + me.Uid + " home " + me.HomeDir, "OK"},
		{"user conc-no-such-user", "FAILED user conc-no-such-user: not there"},
	})
	if id, there, err := accountID(context.Background(), here(t), passwd, me.Username); err != nil || !there || int(id) != os.Geteuid() {
		t.Errorf("got %d %v %v, want %d", id, there, err, os.Geteuid())
	}
}
