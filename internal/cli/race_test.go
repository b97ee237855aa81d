//go:build race

package cli

// raceEnabled tells that the race detector is on, which needs memory of its own.
const raceEnabled = true
