package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.org/conc/config"
)

// Typed makes a catalogue entry of a struct that is an op. The words of a line
// of deploy.ini are read into its fields; those that a line does not name stay as
// they are in defaults. Arguments says how. Help and Example of the entry may be
// set; what is wrong with the struct is in its Err.
func Typed[T Op](name, summary string, defaults T) Entry {
	usage, read, err := Arguments(defaults)
	return Entry{
		Name: name, Args: usage, Summary: summary, Err: err,
		Parse: func(args []string) (Op, error) {
			if err != nil {
				return nil, err
			}
			return read(args)
		},
	}
}

// Arguments reads words into the fields of a struct, or of what a pointer to one
// points to. A field that is an argument has a tag, which is that argument's part
// of the usage:
//
//	To    string        `conc:"VERSION"`            a word that must be there
//	Dir   string        `conc:"[DIR]"`              one that may be left out
//	Files []string      `conc:"FILE..."`            all words that are left, one at least
//	Mode  fs.FileMode   `conc:"mode=MODE"`          KEY=VALUE, at any place of the line
//	Wait  time.Duration `conc:"[wait=DURATION]"`    one that may be left out
//	Env   []string      `conc:"[env=NAME:VALUE...]"` one that may be repeated
//	Force bool          `conc:"[force]"`            the bare word, in lower case
//
// The types are string, bool, the signed integers, time.Duration, fs.FileMode
// (octal permission bits) and []string. Fields without a tag are no arguments.
//
// usage is the tags, in the order of the fields. read is pure: it gives a copy of
// defaults with the fields of args. A secret is given as KEY=VALUE, where nothing
// that is in it can be taken for anything else; as long as a token stands for it,
// a string has the token, and a field of another type is left alone. err says that
// the struct, not a line, is wrong.
func Arguments[T any](defaults T) (usage string, read func(args []string) (T, error), err error) {
	at := reflect.TypeFor[T]()
	pointer := at.Kind() == reflect.Pointer
	if pointer {
		at = at.Elem()
	}
	all, err := parametersOf(at)
	if err != nil {
		return "", nil, err
	}
	tags := make([]string, len(all))
	for i, p := range all {
		tags[i] = p.tag
	}
	return strings.Join(tags, " "), func(args []string) (T, error) {
		v := reflect.New(at)
		switch from := reflect.ValueOf(defaults); {
		case !pointer:
			v.Elem().Set(from)
		case !from.IsNil():
			v.Elem().Set(from.Elem())
		}
		err := all.read(v.Elem(), args)
		if pointer {
			return v.Interface().(T), err
		}
		return v.Elem().Interface().(T), err
	}, nil
}

// parameter is a field that is an argument.
type parameter struct {
	field    int
	tag      string
	name     string // "VERSION", "wait", "force"
	keyed    bool   // KEY=VALUE
	bare     bool   // the word alone
	optional bool
	many     bool
}

type parameters []parameter

// tagForm is a tag without its brackets: KEY=, then what people call the value,
// then dots.
var tagForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:([a-z][a-z0-9_.-]*)(=[^\s=\[\]]+?)?|([A-Z][^\s=\[\]]*?))(\.\.\.)?$`)
})

// parametersOf reads the tags of a struct.
func parametersOf(at reflect.Type) (parameters, error) {
	if at.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is no struct", at)
	}
	var all parameters
	for i := range at.NumField() {
		f := at.Field(i)
		tag, ok := f.Tag.Lookup("conc")
		if !ok {
			continue
		}
		inner, bracket := strings.CutPrefix(tag, "[")
		inner, closed := strings.CutSuffix(inner, "]")
		m := tagForm().FindStringSubmatch(inner)
		wrong := func(format string, args ...any) (parameters, error) {
			return nil, fmt.Errorf("field %v.%s, tag %q: %s", at, f.Name, tag, fmt.Sprintf(format, args...))
		}
		if m == nil || bracket != closed {
			return wrong("a tag is NAME, key=NAME or [word]; in brackets when it may be left out")
		}
		p := parameter{
			field: i, tag: tag, name: m[1] + m[3], keyed: m[2] != "", bare: m[1] != "" && m[2] == "",
			optional: bracket, many: m[4] != "",
		}
		list := f.Type == reflect.TypeFor[[]string]()
		switch {
		case !f.IsExported():
			return wrong("the field is not exported")
		case !list && setterOf(f.Type) == nil:
			return wrong("%v is no type of an argument; these are: string, bool, a signed integer, time.Duration, fs.FileMode, []string", f.Type)
		case list != p.many:
			return wrong("a []string has dots behind its name, and nothing else has")
		case p.bare && (f.Type.Kind() != reflect.Bool || !p.optional):
			return wrong("a bare word is for a bool, and in brackets")
		case slices.ContainsFunc(all, func(q parameter) bool { return q.name == p.name }):
			return wrong("%s is there twice", p.name)
		case p.name == p.tag && all.optionalWord():
			return wrong("a word that must be there stands before those that need not")
		case !p.keyed && !p.bare && all.rest():
			return wrong("no word stands behind those that take all that are left")
		}
		all = append(all, p)
	}
	return all, nil
}

// optionalWord tells whether a word by its place may be left out.
func (ps parameters) optionalWord() bool {
	return slices.ContainsFunc(ps, func(p parameter) bool { return !p.keyed && !p.bare && p.optional })
}

// rest tells whether one takes all words that are left.
func (ps parameters) rest() bool {
	return slices.ContainsFunc(ps, func(p parameter) bool { return !p.keyed && !p.bare && p.many })
}

// read sets the fields of v by args.
func (ps parameters) read(v reflect.Value, args []string) error {
	seen := map[string]bool{}
	set := func(p parameter, what, value string) error {
		if seen[p.name] && !p.many {
			return fmt.Errorf("%s is given twice", what)
		}
		field := v.Field(p.field)
		if p.many {
			if !seen[p.name] {
				field.SetZero() // the line's own, in place of the defaults
			}
			seen[p.name] = true
			field.Set(reflect.Append(field, reflect.ValueOf(value)))
			return nil
		}
		seen[p.name] = true
		if err := setterOf(field.Type())(field, value); err != nil {
			return fmt.Errorf("%s %w", what, err)
		}
		return nil
	}
	var words []string
	for _, a := range args {
		if a == "" {
			return errors.New("an empty argument")
		}
		key, value, hasValue := strings.Cut(a, "=")
		i := slices.IndexFunc(ps, func(p parameter) bool { return p.name == key && (p.keyed && hasValue || p.bare && !hasValue) })
		switch {
		case i < 0 && hasSecret(a):
			return errors.New("a secret is given as KEY=VALUE")
		case i < 0:
			if err := ps.stray(key, hasValue, len(words)); err != nil {
				return err
			}
			words = append(words, a)
			continue
		case hasValue && value == "":
			return fmt.Errorf("%s= has no value", key)
		case !hasValue:
			value = "true"
		}
		if err := set(ps[i], key, value); err != nil {
			return err
		}
	}
	for _, p := range ps {
		if p.keyed || p.bare {
			continue
		}
		n := min(len(words), 1)
		if p.many {
			n = len(words)
		}
		for _, word := range words[:n] {
			if err := set(p, p.name, word); err != nil {
				return err
			}
		}
		words = words[n:]
	}
	for _, p := range ps {
		if !p.optional && !seen[p.name] {
			return fmt.Errorf("it needs %s", p.tag)
		}
	}
	return nil
}

// stray says why a word that is no KEY=VALUE of the op's cannot be one by its
// place either: it is a slip of a key, or there is no place left.
func (ps parameters) stray(key string, hasValue bool, placed int) error {
	var keys []string
	places := 0
	for _, p := range ps {
		switch {
		case p.keyed && hasValue, p.bare && !hasValue:
			keys = append(keys, p.name)
		case !p.keyed && !p.bare:
			places++
		}
	}
	hint := config.DidYouMean(key, keys)
	full := placed >= places && !ps.rest()
	named := slices.IndexFunc(ps, func(p parameter) bool { return (p.keyed || p.bare) && p.name == key })
	switch {
	case named >= 0 && ps[named].bare && full:
		return fmt.Errorf("%s is the word alone, without a value", key)
	case named >= 0 && ps[named].keyed && full:
		return fmt.Errorf("%s needs a value: %s=VALUE", key, key)
	case hint != "" && (hasValue || full):
		return fmt.Errorf("unknown argument %q; %s", key, hint)
	case full:
		return fmt.Errorf("%q is an argument too many", key)
	}
	return nil
}

// setterOf gives what sets a field of a type by a word; nil: no word can.
func setterOf(t reflect.Type) func(v reflect.Value, word string) error {
	var read func(word string) (any, error)
	switch t {
	case reflect.TypeFor[time.Duration]():
		read = func(word string) (any, error) { return config.ParseDuration(word) }
	case reflect.TypeFor[fs.FileMode]():
		read = func(word string) (any, error) { return parseMode(word) }
	default:
		switch t.Kind() {
		case reflect.String:
			return func(v reflect.Value, word string) error { v.SetString(word); return nil }
		case reflect.Bool:
			read = func(word string) (any, error) {
				if word != "true" && word != "false" {
					return nil, errors.New("it is true or false")
				}
				return word == "true", nil
			}
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			read = func(word string) (any, error) {
				n, err := strconv.ParseInt(word, 10, t.Bits())
				if err != nil {
					return nil, fmt.Errorf("it is a whole number of at most %d bits", t.Bits())
				}
				return n, nil
			}
		default:
			return nil
		}
	}
	return func(v reflect.Value, word string) error {
		if hasSecret(word) {
			return nil
		}
		value, err := read(word)
		if err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		v.Set(reflect.ValueOf(value).Convert(v.Type()))
		return nil
	}
}

// hasSecret tells whether a token of a secret is in a word.
func hasSecret(word string) bool { return len(config.SecretNames(word)) > 0 }
