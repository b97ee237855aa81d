package sshconn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// userConfig is ~/.ssh/config, as a fill-in. Include is followed here, not by
// the library, which would look in the home of the process's own user.
type userConfig struct {
	home   string
	path   string
	warn   func(string)
	parsed map[string]*ssh_config.Config // by file; nil for one that is not there
}

func newUserConfig(o Options) *userConfig {
	return &userConfig{
		home: o.Home, path: filepath.Join(o.Home, ".ssh", "config"), warn: o.Warn,
		parsed: map[string]*ssh_config.Config{},
	}
}

// includeKey stands for Include in what the library is given to parse.
const includeKey = "ConcInclude"

// maxInclude is ssh's own bound of nested files.
const maxInclude = 16

// all gives every value of key for alias, in the file's order.
func (u *userConfig) all(alias, key string) ([]string, error) {
	return u.values(u.path, alias, key, 0)
}

// first gives the first value of key for alias, which is the one that counts; "" when there is none.
func (u *userConfig) first(alias, key string) (string, error) {
	v, err := u.all(alias, key)
	if err != nil || len(v) == 0 {
		return "", err
	}
	return v[0], nil
}

func (u *userConfig) values(path, alias, key string, depth int) ([]string, error) {
	if depth > maxInclude {
		return nil, fmt.Errorf("%s: Include is nested deeper than %d files", path, maxInclude)
	}
	cfg, err := u.parse(path)
	if err != nil || cfg == nil {
		return nil, err
	}
	var out []string
	for _, block := range cfg.Hosts {
		if !block.Matches(alias) {
			continue
		}
		for _, n := range block.Nodes {
			kv, ok := n.(*ssh_config.KV)
			switch {
			case !ok:
			case strings.EqualFold(kv.Key, key):
				out = append(out, kv.Value)
			case kv.Key == includeKey:
				for _, pattern := range splitWords(kv.Value) {
					files, err := filepath.Glob(u.included(pattern))
					if err != nil {
						return nil, fmt.Errorf("%s: Include %s: %w", path, pattern, err)
					}
					for _, f := range files {
						more, err := u.values(f, alias, key, depth+1)
						if err != nil {
							return nil, err
						}
						out = append(out, more...)
					}
				}
			}
		}
	}
	return out, nil
}

func (u *userConfig) included(pattern string) string {
	pattern = inHome(u.home, pattern)
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(u.home, ".ssh", pattern)
	}
	return pattern
}

// parse reads one file, once.
func (u *userConfig) parse(path string) (*ssh_config.Config, error) {
	if cfg, ok := u.parsed[path]; ok {
		return cfg, nil
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var cfg *ssh_config.Config
	if err == nil {
		if data, err = u.prepare(path, data); err != nil {
			return nil, err
		}
		if cfg, err = ssh_config.DecodeBytes(data); err != nil {
			return nil, fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "ssh_config: "))
		}
	}
	u.parsed[path] = cfg
	return cfg, nil
}

// prepare rewrites the lines that the library does not take as ssh does.
func (u *userConfig) prepare(path string, data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		lines[i] = line
		word, rest := cutWord(line)
		switch {
		case word == "" || word[0] == '#':
		case rest == "":
			return nil, fmt.Errorf("%s:%d: %q stands without a value", path, i+1, word)
		case strings.EqualFold(word, "Include"):
			lines[i] = includeKey + " " + rest
		case strings.EqualFold(word, "Match"):
			criterion, patterns := cutWord(rest)
			switch {
			case strings.EqualFold(criterion, "all") && patterns == "":
			case strings.EqualFold(criterion, "host") && len(strings.Fields(patterns)) == 1:
				lines[i] = "Host " + strings.ReplaceAll(patterns, ",", " ")
			default:
				u.warn(fmt.Sprintf("%s:%d: a Match block that conc does not understand is left out", path, i+1))
				lines[i] = "Host !*"
			}
		}
	}
	return []byte(strings.Join(lines, "\n")), nil
}

// cutWord splits a line after its keyword, which ends at a space or a "=".
func cutWord(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.TrimSpace(strings.TrimLeft(line[i:], " \t="))
}

// splitWords splits at spaces; double quotes keep a word with spaces together.
func splitWords(s string) []string {
	var words []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		var word string
		if quoted, ok := strings.CutPrefix(s, `"`); ok {
			word, s, _ = strings.Cut(quoted, `"`)
		} else if i := strings.IndexAny(s, " \t"); i >= 0 {
			word, s = s[:i], s[i:]
		} else {
			word, s = s, ""
		}
		words = append(words, word)
	}
	return words
}

// paths gives the files that key names for alias, with ~ and tokens expanded.
func (u *userConfig) paths(alias, key string, tokens map[byte]string) ([]string, error) {
	all, err := u.all(alias, key)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range all {
		if strings.EqualFold(v, "none") {
			continue
		}
		p, err := expandTokens(strings.Trim(v, `"`), tokens)
		if err != nil {
			return nil, fmt.Errorf("%s: %s of %s: %w", u.path, key, alias, err)
		}
		out = append(out, inHome(u.home, p))
	}
	return out, nil
}

// knownHosts gives the known_hosts files for alias; nil for the usual ones.
func (u *userConfig) knownHosts(alias string, tokens map[byte]string) ([]string, error) {
	var out []string
	said := false
	for _, key := range []string{"UserKnownHostsFile", "GlobalKnownHostsFile"} {
		v, err := u.first(alias, key)
		if err != nil {
			return nil, err
		}
		switch {
		case v != "":
			said = true
		case key == "UserKnownHostsFile":
			v = "~/.ssh/known_hosts"
		default:
			v = "/etc/ssh/ssh_known_hosts"
		}
		for _, word := range splitWords(v) {
			if strings.EqualFold(word, "none") {
				continue
			}
			p, err := expandTokens(word, tokens)
			if err != nil {
				return nil, fmt.Errorf("%s: %s of %s: %w", u.path, key, alias, err)
			}
			out = append(out, inHome(u.home, p))
		}
	}
	if !said {
		return nil, nil
	}
	return out, nil
}

// expandTokens replaces ssh's %h and its like.
func expandTokens(s string, tokens map[byte]string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("%q ends in a lone %%", s)
		}
		v, ok := tokens[s[i]]
		switch {
		case s[i] == '%':
			b.WriteByte('%')
		case ok:
			b.WriteString(v)
		default:
			return "", fmt.Errorf("%q: conc does not know the token %%%c", s, s[i])
		}
	}
	return b.String(), nil
}
