//go:build !linux

package nodetest

import "testing"

func fullQueue(*testing.T) string { return "" }

func littleEndian() bool { return false }
