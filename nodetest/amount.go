package nodetest

import (
	"fmt"
	"math"
	"strings"
)

// amount is a bound on a part of something: as such, or in percent of the whole.
type amount struct {
	bound
	percent bool
}

func readAmount(s, otherwise string, number func(string) (float64, error)) (a amount, err error) {
	if a.percent = strings.HasSuffix(s, "%"); a.percent {
		number = percentNumber
	}
	a.bound, err = readBound(s, otherwise, number)
	return a, err
}

// isAmount judges a value for a grammar.
func isAmount(number func(string) (float64, error)) func(string) error {
	return func(s string) error {
		_, err := readAmount(s, "=", number)
		return err
	}
}

// spelled writes a bound with the operator that it has where none is written.
func spelled(value, otherwise string) string {
	for _, op := range operators {
		if strings.HasPrefix(value, op) {
			return value
		}
	}
	return otherwise + value
}

// quantity is a part of a whole, which has a size.
type quantity struct {
	part, whole float64
	percent     float64
	show        func(float64) string
}

// used is a part that is used up: its percentage is rounded up, as df does it.
func used(part, whole float64, show func(float64) string) quantity {
	return quantity{part, whole, math.Ceil(ratio(part, whole)), show}
}

// free is a part that is left: its percentage is rounded down, so that it makes
// 100 with that of the part that is used.
func free(part, whole float64, show func(float64) string) quantity {
	return quantity{part, whole, math.Floor(ratio(part, whole)), show}
}

func ratio(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	// Rounded off is what the division adds, not what is there.
	return math.Round(100*part/whole*1e6) / 1e6
}

// judge compares a quantity with what is wanted of it; number reads a value that
// is no percentage.
func (q quantity) judge(w want, otherwise string, number func(string) (float64, error)) (Finding, error) {
	a, err := readAmount(w.value, otherwise, number)
	if err != nil {
		return Finding{}, fmt.Errorf("%s %s: %w", w.property, w.value, err)
	}
	v := q.part
	if a.percent {
		v = q.percent
	}
	got := fmt.Sprintf("%s of %s (%.0f%%)", q.show(q.part), q.show(q.whole), q.percent)
	return found(a.holds(v), w.property, spelled(w.value, otherwise), got), nil
}
