package nodetest

import "example.org/conc/jobs"

// Typed makes a catalogue entry of a struct that is a check, as jobs.Typed makes
// one of an op: the words of a line are read into its fields, by jobs.Arguments.
func Typed[T Check](name, summary string, defaults T) Entry {
	usage, read, err := jobs.Arguments(defaults)
	return Entry{
		Name: name, Args: usage, Summary: summary, Err: err,
		Parse: func(args []string) (Check, error) {
			if err != nil {
				return nil, err
			}
			return read(args)
		},
	}
}
