package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// A value "secret:NAME" never enters a plan, a digest or a journal. Where it is
// substituted, a token stands for it; NUL cannot occur in a deploy.ini, so a
// token cannot be forged by one.
var secretToken = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("\x00secret:([^\x00]*)\x00") })

// Masked is what is shown in a secret's place.
const Masked = "********"

// SecretToken gives the text that stands for the secret called name.
func SecretToken(name string) string { return "\x00secret:" + name + "\x00" }

// Mask replaces every secret's token in s by Masked, for people to read.
func Mask(s string) string { return secretToken().ReplaceAllLiteralString(s, Masked) }

// SecretNames lists the secrets that s stands on, in order, with repeats.
func SecretNames(s string) []string {
	var names []string
	for _, m := range secretToken().FindAllStringSubmatch(s, -1) {
		names = append(names, m[1])
	}
	return names
}

// Reveal replaces every token in s by what lookup gives for its name.
func Reveal(s string, lookup func(name string) (string, error)) (string, error) {
	var first error
	out := secretToken().ReplaceAllStringFunc(s, func(tok string) string {
		name := secretToken().FindStringSubmatch(tok)[1]
		v, err := lookup(name)
		if err != nil && first == nil {
			first = fmt.Errorf("secret %s: %w", name, err)
		}
		return v
	})
	if first != nil {
		return "", first
	}
	return out, nil
}

// OneLine masks the secrets in a message, and keeps it on one printable line.
func OneLine(s string) string {
	q := strconv.Quote(Mask(s))
	q = q[1 : len(q)-1]
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q)
}
