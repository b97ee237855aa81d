package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rehearse is the section [rehearse]: what `conc rehearse` is to know. Its zero
// value is that of a file without one.
type Rehearse struct {
	Files  string             // a folder beside the file whose content is in the node's home before; "": nothing is
	Stubs  map[string]Stub    // programs that are stood in for, by name
	Ignore []string           // globs of paths below the node's home that may be different each time
	Before map[string][]Prior // what is run before a list is rehearsed, by the list
	Forks  int                // throwaway nodes at a time; 0: it does not say
}

// Prior is a list that is run to bring a node to where another one begins.
type Prior struct {
	List string
	Set  []string // KEY=VALUE, as for --set
}

// Stub is what a stood-in program does: nothing, and exit status 0, by default.
type Stub struct {
	Exit           int
	Stdout, Stderr string
	Sleep          time.Duration
}

// Rehearse gives the section [rehearse].
func (f *File) Rehearse() Rehearse {
	r := f.rehearse
	r.Stubs, r.Ignore, r.Before = maps.Clone(r.Stubs), slices.Clone(r.Ignore), maps.Clone(r.Before)
	return r
}

// IsProgram tells whether name is a program's, as PATH finds it: no folder, and
// nothing that a shell would read otherwise.
func IsProgram(name string) bool { return stubName().MatchString(name) }

var stubName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`) })

// line takes in a line of [rehearse]. Nothing is substituted in it.
func (r *Rehearse) line(name string, words []string) *Problem {
	program, stub := strings.CutPrefix(name, "stub ")
	list, before := strings.CutPrefix(name, "before ")
	switch {
	case name == "files" && len(words) != 1:
		return &Problem{Reason: "files: it is one folder"}
	case name == "files" && (filepath.IsAbs(words[0]) || !filepath.IsLocal(words[0])):
		return &Problem{Reason: fmt.Sprintf("files: %s is not beside this file", quote(words[0])), Hint: "name a folder by its path from here"}
	case name == "files":
		r.Files = words[0]
	case name == "ignore":
		for _, w := range words {
			if _, err := filepath.Match(w, ""); err != nil {
				return &Problem{Reason: fmt.Sprintf("ignore: %s is no pattern", quote(w))}
			}
		}
		r.Ignore = words
	case name == "stub":
		for _, w := range words {
			if problem := r.stub(w, nil); problem != nil {
				return problem
			}
		}
	case stub:
		return r.stub(strings.TrimSpace(program), words)
	case before:
		return r.before(strings.TrimSpace(list), words)
	case name == "forks":
		n, err := strconv.Atoi(strings.Join(words, " "))
		if err != nil || n < 1 {
			return &Problem{Reason: fmt.Sprintf("forks: %s is no number from 1 on", quote(strings.Join(words, " ")))}
		}
		r.Forks = n
	default:
		return &Problem{Reason: fmt.Sprintf("unknown key %s in [%s]", quote(name), kindRehearse), Hint: `the keys are files, forks, ignore, stub, "stub NAME" and "before LIST"`}
	}
	return nil
}

// before takes in the lists that are run before another one, each with what is set
// for it.
func (r *Rehearse) before(list string, words []string) *Problem {
	var all []Prior
	for _, w := range words {
		switch set := strings.Contains(w, "="); {
		case !set:
			all = append(all, Prior{List: w})
		case len(all) == 0:
			return &Problem{Reason: fmt.Sprintf("before %s: %s comes before any list", list, quote(w)), Hint: "write  LIST KEY=VALUE..."}
		default:
			last := &all[len(all)-1]
			last.Set = append(last.Set, w)
		}
	}
	if r.Before == nil {
		r.Before = map[string][]Prior{}
	}
	r.Before[list] = all
	return nil
}

// stub takes in a program that is stood in for, with what it does.
func (r *Rehearse) stub(name string, words []string) *Problem {
	if !IsProgram(name) {
		return &Problem{Reason: fmt.Sprintf("stub: %s is no name of a program", quote(name)), Hint: "name it as PATH finds it, without a folder"}
	}
	if _, ok := r.Stubs[name]; ok || name == "sudo" {
		return &Problem{Reason: fmt.Sprintf("stub: there is one for %s already", quote(name))}
	}
	is := Stub{}
	for _, w := range words {
		key, value, found := strings.Cut(w, "=")
		var err error
		switch {
		case !found:
			err = fmt.Errorf("%s has no =", quote(w))
		case key == "exit":
			if is.Exit, err = strconv.Atoi(value); err != nil || is.Exit < 0 || is.Exit > 255 {
				err = fmt.Errorf("exit: %s is not between 0 and 255", quote(value))
			}
		case key == "stdout":
			is.Stdout = value
		case key == "stderr":
			is.Stderr = value
		case key == "sleep":
			is.Sleep, err = ParseDuration(value)
		default:
			err = fmt.Errorf("%s is none of exit, stdout, stderr, sleep", quote(key))
		}
		if err != nil {
			return &Problem{Reason: "stub " + name + ": " + err.Error()}
		}
	}
	if r.Stubs == nil {
		r.Stubs = map[string]Stub{}
	}
	r.Stubs[name] = is
	return nil
}
