package jobs

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// However the output is cut into pieces, the tail is that of the whole.
func TestTailOfAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune("ab\n\n")), 0, 200, -1), 0, 8).Draw(t, "pieces")
		var tail Tail
		for _, p := range pieces {
			if n, err := tail.Write([]byte(p)); n != len(p) || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
		}
		want := strings.Split(strings.TrimSuffix(strings.Join(pieces, ""), "\n"), "\n")
		if strings.Join(pieces, "") == "" {
			want = nil
		}
		if tail.Count() != len(want) {
			t.Fatalf("got %d lines, want %d", tail.Count(), len(want))
		}
		want = want[max(0, len(want)-tailLines):]
		if got := tail.Lines(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
