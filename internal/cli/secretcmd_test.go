package cli

import (
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"example.org/conc/internal/testnode"
)

func TestSecretsInTheKeyring(t *testing.T) {
	keyring.MockInit() // the library's own: a keyring in memory
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.write("deploy.ini", o.ini("use = remote shell 'echo %(db.password)s >seen'\n", map[string]string{"db.password": "secret:db-web1"}))
	o.want(exitError, "secret", "set", "db-web1").mustSay(t, "set CONC_SECRET_DB_WEB1 in the environment") // no session bus
	o.env.Getenv = func(k string) string {
		if k == "DBUS_SESSION_BUS_ADDRESS" {
			return "unix:path=/nonexistent"
		}
		return ""
	}
	if r := o.want(0, "secret", "list"); !strings.Contains(r.out, "db-web1  (asked for)  web1:db.password") {
		t.Errorf("got\n%s", r)
	}
	o.want(exitUsage, "secret", "set", "a b")
	o.want(exitBlocked, "secret", "delete", "db-web1")
	o.input = "canary-9\nmore"
	if r := o.want(0, "secret", "set", "db-web1"); strings.Contains(r.String(), "canary-9") {
		t.Errorf("the secret is on the screen:\n%s", r)
	}
	if r := o.want(0, "secret", "list"); !strings.Contains(r.out, "db-web1  keyring") || strings.Contains(r.out, "canary") {
		t.Errorf("got\n%s", r)
	}
	o.want(0, "deploy", "web1")
	if !o.there("seen") {
		t.Error("the step did not run")
	}
	o.want(0, "secret", "delete", "db-web1")
	o.want(exitError, "deploy", "web1")
}
