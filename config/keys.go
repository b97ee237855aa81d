package config

// known is a key that conc itself reads.
type known struct {
	key     string
	builtIn string // its value when nobody gives one; "" is none
}

// knownKeys are all of them, in the order of the manual.
var knownKeys = []known{
	{key: "name"},
	{key: "groups"},
	{key: "admin"},
	{key: "sshd.ip", builtIn: "%(name)s"}, // so that a name of ~/.ssh/config will do
	{key: "sshd.port", builtIn: "22"},
	{key: "sshd.hostkey"},
	{key: "sshd.jump"},
	{key: "op_key"},
	{key: "bundle", builtIn: "conc-bundle"},
	{key: "venv"},
	{key: "jobs"},
	{key: "nodetest"},
	{key: "agent.dir"},
	{key: "cache.size", builtIn: "1GiB"},
	{key: "timeout.connect", builtIn: "20s"},
	{key: "timeout.job", builtIn: "1h"},
	{key: "timeout.reconnect", builtIn: "60s"},
	{key: "sudo.secret"},
	{key: "on_disconnect", builtIn: "finish"},
}

// builtIn is the built-in value of a key, as a file would write it.
func builtIn(key string) string {
	for _, k := range knownKeys {
		if k.key == key {
			return k.builtIn
		}
	}
	return ""
}
