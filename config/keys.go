package config

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// known is a key that conc itself reads.
type known struct {
	key     string
	builtIn string             // its value when nobody gives one; "" is none
	check   func(string) error // of a value, substituted; nil: any will do
	edits   int                // how far a key may be from it to be taken for a typo; 0: by its length
}

// knownKeys are all of them, in the order of the manual.
var knownKeys = []known{
	{key: "name"},
	{key: "groups"},
	{key: "admin", check: checkFilled},
	{key: "sshd.ip", builtIn: "%(name)s", check: checkHost}, // so that a name of ~/.ssh/config will do
	{key: "sshd.port", builtIn: "22", check: checkPort},
	{key: "sshd.hostkey", check: checkHostKey},
	{key: "sshd.jump", check: checkJump},
	{key: "op_key", check: checkOpKey, edits: 1}, // an api_key is no slip
	{key: "bundle", builtIn: "conc-bundle", check: checkBundle},
	{key: "venv", check: checkVenv},
	{key: "jobs", check: checkListName},
	{key: "nodetest", check: checkListName},
	{key: "agent.dir", check: checkFilled},
	{key: "cache.size", builtIn: "1GiB", check: checkSize},
	{key: "timeout.connect", builtIn: "20s", check: checkDuration},
	{key: "timeout.job", builtIn: "1h", check: checkDuration},
	{key: "timeout.reconnect", builtIn: "60s", check: checkDuration},
	{key: sudoSecret, check: checkSecret},
	{key: "on_disconnect", builtIn: "finish", check: checkDisconnect},
}

// sudoSecret is the one key of conc's own whose value must be a secret.
const sudoSecret = "sudo.secret"

// knownKey gives the table's line for a key.
var knownKey = sync.OnceValue(func() map[string]known {
	m := make(map[string]known, len(knownKeys))
	for _, k := range knownKeys {
		m[k.key] = k
	}
	return m
})

// builtIn is the built-in value of a key, as a file would write it.
func builtIn(key string) string { return knownKey()[key].builtIn }

// builtInLayer gives the built-in values as a source of a node's values.
func builtInLayer() *layer {
	l := &layer{}
	for _, k := range knownKeys {
		if k.builtIn != "" {
			parts, _ := split(k.builtIn)
			l.add(&entry{key: k.key, raw: k.builtIn, parts: parts, late: isLate(parts), origin: Origin{Section: builtInName}})
		}
	}
	return l
}

// ownWords are keys that applications have, though they look like ours.
var ownWords = []string{"env"} // venv

// typo gives the keys of conc's that key may have been meant for. A key within
// two edits of one is a typo, within one where what differs has four letters
// or fewer: the whole key, or its last part when the parts before are the same.
func typo(key string) []string {
	if _, ok := knownKey()[key]; ok || slices.Contains(ownWords, key) {
		return nil
	}
	var meant []string
	space := key[:strings.LastIndexByte(key, '.')+1]
	for _, k := range knownKeys {
		name, ok := strings.CutPrefix(k.key, space)
		limit := cmp.Or(k.edits, editLimit(k.key))
		if ok && space != "" {
			limit = editLimit(name)
		}
		if k.key != "name" && near(key, k.key, limit) { // nobody writes a name; "game" is no slip
			meant = append(meant, k.key)
		}
	}
	return meant
}
