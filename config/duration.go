package config

import (
	"errors"
	"strconv"
	"time"
)

// maxDuration is the longest time limit. It is there to catch a slip of the
// pen: 1e99, or milliseconds meant.
const maxDuration = 1000 * time.Hour

// errDuration says what a time limit looks like.
var errDuration = errors.New(`not a time limit: write "90s", "5m", "1h30m" or a number of seconds, over 0 and at most 1000h`)

// ParseDuration reads a time limit: Go's notation ("90s", "5m", "1h30m"), or a
// whole number of seconds; over zero and at most 1000 hours.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		var n uint64
		if n, err = strconv.ParseUint(s, 10, 32); err != nil { // 32 bits of seconds cannot overflow
			return 0, errDuration
		}
		d = time.Duration(n) * time.Second
	}
	if d <= 0 || d > maxDuration {
		return 0, errDuration
	}
	return d, nil
}
