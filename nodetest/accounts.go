package nodetest

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"

	"example.org/conc/jobs"
)

// The databases of accounts, as getent names them, and how many fields their
// lines have: name, password, number, ...
const (
	passwd = "passwd" // ..., group's number, comment, home, shell
	groups = "group"  // ..., members
)

var accountFields = map[string]int{passwd: 7, groups: 4}

// isAccount judges what an account may be called.
func isAccount(name string) error {
	if name == "" || strings.HasPrefix(name, "-") || strings.ContainsAny(name, ":\n\x00") {
		return errors.New("not the name of an account")
	}
	return nil
}

// isID judges the number of an account.
func isID(s string) error {
	if _, err := strconv.ParseUint(s, 10, 32); err != nil {
		return errors.New("not a number such as 1000")
	}
	return nil
}

// entryOf looks an account up, by its name or its number: with getent, which
// knows of LDAP and its like, or in /etc where there is none.
func entryOf(ctx context.Context, env *jobs.Env, database, key string) (fields []string, there bool, err error) {
	if runtime.GOOS == "darwin" {
		return nil, false, Skipf("accounts are looked up with getent or in /etc/%s, which do not tell of them all on %s", database, runtime.GOOS)
	}
	getent, ok := program("getent")
	if !ok {
		text, err := os.ReadFile("/etc/" + database)
		if err != nil {
			return nil, false, unreadable(err)
		}
		fields, there = findAccount(string(text), database, key)
		return fields, there, nil
	}
	r, err := askProgram(ctx, env, getent, database, key)
	switch {
	case err != nil:
		return nil, false, err
	case r.exit == 2: // it knows of none
		return nil, false, nil
	case r.exit != 0:
		return nil, false, r.refused("getent " + database)
	}
	// What it gives may be spelled otherwise than the key.
	line, _, _ := strings.Cut(r.stdout, "\n")
	fields, there = splitAccount(line, database)
	if !there {
		return nil, false, jobs.Errorf("getent %s: it gave no line of %d fields", database, accountFields[database])
	}
	return fields, true, nil
}

// findAccount looks for an account in a file, by its name before its number.
func findAccount(text, database, key string) (fields []string, there bool) {
	for _, at := range []int{0, 2} {
		for line := range strings.Lines(text) {
			if f, ok := splitAccount(strings.TrimSuffix(line, "\n"), database); ok && f[at] == key {
				return f, true
			}
		}
	}
	return nil, false
}

// splitAccount takes a line apart; ok says that it is one.
func splitAccount(line, database string) (fields []string, ok bool) {
	fields = strings.Split(line, ":")
	if len(fields) != accountFields[database] || fields[0] == "" || isID(fields[2]) != nil {
		return nil, false
	}
	return fields, true
}

// namedEntry looks an account up by its name alone.
func namedEntry(ctx context.Context, env *jobs.Env, database, name string) (fields []string, there bool, err error) {
	fields, there, err = entryOf(ctx, env, database, name)
	if there && isID(name) == nil && fields[0] != name {
		return nil, false, nil
	}
	return fields, there, err
}

// accountID gives the number that a name, or a number, stands for.
func accountID(ctx context.Context, env *jobs.Env, database, key string) (id uint32, there bool, err error) {
	if isAccount(key) != nil {
		return 0, false, nil
	}
	text := key
	fields, there, err := entryOf(ctx, env, database, key)
	if err != nil {
		return 0, false, err
	}
	if there {
		text = fields[2]
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil, nil
}
