package config

import (
	"errors"
	"slices"
	"testing"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	f := mustParse(t, node+"db.password = secret:DB\nurl = pg://u:%(db.password)s@h/%(db.password)s\nsudo.secret = %(own)s\nown = secret:SUDO\n")
	n := mustNode(t, f, "web1")
	a, _ := n.Lookup("db.password")
	if a.Raw != "secret:DB" || a.Value != SecretToken("DB") {
		t.Errorf("got raw %q, value %q", a.Raw, a.Value)
	}
	url := n.Get("url")
	if got, want := Mask(url), "pg://u:********@h/********"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := SecretNames(url), []string{"DB", "DB"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := SecretNames("plain secret:DB"); got != nil {
		t.Errorf("got %v, want none", got)
	}
	got, err := Reveal(url, func(name string) (string, error) { return `$1\` + name, nil })
	if want := `pg://u:$1\DB@h/$1\DB`; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	gone := errors.New("gone")
	got, err = Reveal(url, func(string) (string, error) { return "half", gone })
	if got != "" || !errors.Is(err, gone) || err.Error() != "secret DB: gone" {
		t.Errorf("got %q, %v, want none of it", got, err)
	}
	if got := n.Get("sudo.secret"); got != SecretToken("SUDO") {
		t.Errorf("got %q for a secret that is referred to", got)
	}
}

// TestNoForgedToken wants nothing that a person writes to pass for a token.
func TestNoForgedToken(t *testing.T) {
	t.Parallel()
	forged := SecretToken("DB")
	if _, err := Parse("d.ini", []byte(node+"x = "+forged+"\n"), Options{}); err == nil {
		t.Error("a token in the file was taken")
	}
	if _, err := Parse("d.ini", []byte(node), Options{Set: []string{"x=" + forged}}); err == nil {
		t.Error("a token in --set was taken")
	}
}
